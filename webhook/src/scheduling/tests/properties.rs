//! Properties that hold for any pod and any placement, by a model of the scheduler.

use std::collections::BTreeMap;

use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const CLUSTERS: [&str; 3] = ["c1", "c2", "c3"];

fn any_placement() -> impl Strategy<Value = Placement> {
    (any::<bool>(), subsequence(CLUSTERS.to_vec(), 0..=3))
        .prop_filter("a pod may run somewhere", |(home, clusters)| *home || !clusters.is_empty())
        .prop_map(|(home, clusters)| placement(home, &clusters))
}

fn any_requirement() -> impl Strategy<Value = Value> {
    let key = select(vec![NODE_LABEL, "zone"]);
    let operator = select(vec!["In", "NotIn", "Exists", "DoesNotExist"]);
    let values = subsequence(vec!["c1", "c2", "c3", "a", "b"], 1..4);
    (key, operator, values).prop_map(|(key, operator, values)| match operator {
        "In" | "NotIn" => json!({ "key": key, "operator": operator, "values": values }),
        _ => json!({ "key": key, "operator": operator }),
    })
}

fn any_term() -> impl Strategy<Value = Value> {
    let field = select(vec!["node-home", "node-c1", "node-c2"])
        .prop_map(|name| json!([{ "key": "metadata.name", "operator": "In", "values": [name] }]));
    (option::of(vec(any_requirement(), 0..3)), option::of(field)).prop_map(|(expressions, fields)| {
        let mut term = json!({});
        if let Some(expressions) = expressions {
            term["matchExpressions"] = expressions.into();
        }
        if let Some(fields) = fields {
            term["matchFields"] = fields;
        }
        term
    })
}

fn any_toleration() -> impl Strategy<Value = Value> {
    let key = select(vec![NODE_TAINT, "other", ""]);
    let operator = select(vec!["Exists", "Equal"]);
    let effect = select(vec!["", "NoSchedule", "NoExecute"]);
    (key, operator, select(CLUSTERS.to_vec()), effect).prop_map(|(key, operator, value, effect)| {
        json!({ "key": key, "operator": operator, "value": value, "effect": effect })
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let affinity = prop_oneof![
        Just(None),
        Just(Some(json!({}))),
        Just(Some(json!({ "nodeAffinity": {} }))),
        vec(any_term(), 1..4).prop_map(|terms| Some(required(&terms))),
    ];
    (affinity, option::of(vec(any_toleration(), 0..3))).prop_map(|(affinity, tolerations)| {
        let mut spec = json!({ "containers": [{ "name": "main" }] });
        if let Some(affinity) = affinity {
            spec["affinity"] = affinity;
        }
        if let Some(tolerations) = tolerations {
            spec["tolerations"] = tolerations.into();
        }
        json!({ "spec": spec })
    })
}

/// Nodes at home and in each cluster: the name and the labels of each.
fn nodes() -> impl Iterator<Item = (String, BTreeMap<&'static str, &'static str>)> {
    [None, Some("c1"), Some("c2"), Some("c3")].into_iter().flat_map(|cluster| {
        ["a", "b"].into_iter().map(move |zone| {
            let labels = cluster.map(|cluster| (NODE_LABEL, cluster)).into_iter().chain([("zone", zone)]);
            (format!("node-{}", cluster.unwrap_or("home")), labels.collect())
        })
    })
}

fn holds(requirement: &Value, value: Option<&str>) -> bool {
    let values = requirement["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_listed = value.is_some_and(|value| values.iter().any(|one| one == value));
    match requirement["operator"].as_str().unwrap() {
        "In" => is_listed,
        "NotIn" => !is_listed,
        "Exists" => value.is_some(),
        _ => value.is_none(),
    }
}

fn matches(term: &Value, name: &str, labels: &BTreeMap<&str, &str>) -> bool {
    let list = |field: &str| term[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let (expressions, fields) = (list("matchExpressions"), list("matchFields"));
    let label = |one: &Value| labels.get(one["key"].as_str().unwrap()).copied();
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|one| holds(one, label(one)))
        && fields.iter().all(|one| holds(one, Some(name)))
}

/// Whether the required node affinity permits the node.
fn permits(pod: &Value, name: &str, labels: &BTreeMap<&str, &str>) -> bool {
    let terms =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = pod.pointer(terms).and_then(Value::as_array);
    terms.is_none_or(|terms| terms.iter().any(|term| matches(term, name, labels)))
}

fn tolerates(pod: &Value, cluster: &str) -> bool {
    let pod = Pod::deserialize(pod).unwrap();
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref());
    tolerations.into_iter().flatten().any(|toleration| toleration.0.tolerates(cluster))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pod_may_run_where_its_affinity_and_the_placement_permit(pod in any_pod(), placement in any_placement()) {
        let after = patched(&pod, &placement);
        for (name, labels) in nodes() {
            let placed = match labels.get(NODE_LABEL) {
                Some(cluster) => placement.clusters.iter().any(|one| one == cluster),
                None => placement.home,
            };
            let expected = placed && permits(&pod, &name, &labels);
            prop_assert_eq!(permits(&after, &name, &labels), expected, "{} {:?} in {}", name, labels, after);
        }
    }

    #[test]
    fn pod_tolerates_the_clusters_of_the_placement_and_its_own(pod in any_pod(), placement in any_placement()) {
        let after = patched(&pod, &placement);
        for cluster in CLUSTERS {
            let placed = placement.clusters.iter().any(|one| one == cluster);
            prop_assert_eq!(tolerates(&after, cluster), placed || tolerates(&pod, cluster));
        }
        let own = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        let all = after["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        prop_assert!(all.starts_with(&own));
        prop_assert_eq!(&after["spec"]["containers"], &pod["spec"]["containers"]);
    }
}
