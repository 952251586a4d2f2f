//! Properties that hold for any labels, annotations and affinity.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;
use mcsa_client::controller::Owner;
use mcsa_credentials::contract::launch::NODE_LABEL;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::{forged_spec, metadata_patch, owner, patched, remote_metadata};
use crate::forge::metadata::{COPIED_KEYS, is_copied};

type Strings = BTreeMap<String, String>;

/// Few keys, so that home pod and source often have the same.
fn strings() -> impl Strategy<Value = Strings> {
    let keys = select(vec![
        "a",
        "b",
        "example.com/c",
        "pod-template-hash",
        "multicluster.admiralty.io/elect",
        "owner.multicluster.admiralty.io/uid",
        "multicluster.admiralty.io/owner",
    ]);
    btree_map(keys.prop_map(Into::into), "[xy]?", 0..6)
}

fn metadata() -> impl Strategy<Value = ObjectMeta> {
    (strings(), strings()).prop_map(|(labels, annotations)| ObjectMeta {
        name: Some("p".into()),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    })
}

/// The remote pod after the source's own clients wrote to it.
fn written_by_others(mut remote: ObjectMeta, others: &ObjectMeta) -> ObjectMeta {
    let maps = [(&mut remote.labels, &others.labels), (&mut remote.annotations, &others.annotations)];
    for (map, others) in maps {
        let new = others.iter().flatten().filter(|(key, _)| is_copied(key));
        let map = map.get_or_insert_default();
        for (key, value) in new {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    remote
}

fn pairs<'a>(a: &'a ObjectMeta, b: &'a ObjectMeta) -> [(Strings, Strings); 2] {
    let of = |map: &'a Option<Strings>| map.clone().unwrap_or_default();
    [(of(&a.labels), of(&b.labels)), (of(&a.annotations), of(&b.annotations))]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn remote_pod_follows_and_others_keep_what_they_wrote(
        first in metadata(),
        others in metadata(),
        changes in vec(metadata(), 1..4),
    ) {
        let created = remote_metadata(&first);
        let mut remote = written_by_others(created.clone(), &others);
        let foreign: Vec<_> = pairs(&created, &remote).into_iter().map(|(created, mut remote)| {
            remote.retain(|key, _| !created.contains_key(key));
            remote
        }).collect();
        for home in changes {
            if let Some(patch) = metadata_patch(&home, &remote) {
                remote = patched(&remote, &patch);
                prop_assert_eq!(metadata_patch(&home, &remote), None, "twice changes nothing");
            }
            prop_assert!(owner().owns(&remote));
            let (a, b) = (Owner::from_metadata(&remote).unwrap(), owner());
            prop_assert_eq!(serde_json::to_value(a).unwrap(), serde_json::to_value(b).unwrap());
            for ((home, remote), foreign) in pairs(&home, &remote).into_iter().zip(&foreign) {
                for (key, value) in foreign {
                    prop_assert_eq!(remote.get(key), Some(value), "foreign {}", key);
                }
                for (key, value) in home.iter().filter(|(key, _)| is_copied(key) && !foreign.contains_key(*key)) {
                    prop_assert_eq!(remote.get(key), Some(value), "copied {}", key);
                }
                let ours = |key: &str| is_copied(key) && key != COPIED_KEYS && !foreign.contains_key(key);
                prop_assert!(remote.keys().all(|key| !ours(key) || home.contains_key(key)), "lost keys are removed");
            }
        }
    }
}

/// A requirement of node affinity, some of which are about the virtual node.
fn requirement() -> impl Strategy<Value = Value> {
    let key = select(vec![NODE_LABEL, "type", "kubernetes.io/hostname", "gpu"]);
    let values = subsequence(vec!["c2", "c3", "virtual-kubelet", "n1", "yes"], 1..3);
    (key, select(vec!["In", "NotIn", "Exists", "DoesNotExist"]), values).prop_map(
        |(key, operator, values)| {
            let values = if operator.ends_with("In") { values } else { vec![] };
            json!({ "key": key, "operator": operator, "values": values })
        },
    )
}

fn term() -> impl Strategy<Value = Value> {
    vec(requirement(), 0..3).prop_map(|requirements| json!({ "matchExpressions": requirements }))
}

fn is_fulfilled(requirement: &Value, value: Option<&String>) -> bool {
    let has = |value: &String| requirement["values"].as_array().unwrap().iter().any(|one| one == value);
    match requirement["operator"].as_str().unwrap() {
        "In" => value.is_some_and(has),
        "NotIn" => !value.is_some_and(has),
        "Exists" => value.is_some(),
        _ => value.is_none(),
    }
}

fn requirements(term: &Value) -> &[Value] {
    term["matchExpressions"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether a term matches a node. To Kubernetes, an empty term matches none.
fn matches(term: &Value, value_of: impl Fn(&Value) -> Option<String>) -> bool {
    let requirements = requirements(term);
    !requirements.is_empty() && requirements.iter().all(|one| is_fulfilled(one, value_of(one).as_ref()))
}

/// The value that counts for a requirement of a home pod: that of the virtual node if it names that node, otherwise
/// that of a node of the source.
fn value_for(requirement: &Value, node: &Strings) -> Option<String> {
    let key = requirement["key"].as_str().unwrap();
    let names = |value: &str| requirement["values"].as_array().unwrap().iter().any(|one| one == value);
    match key {
        NODE_LABEL => Some("c2".into()),
        "kubernetes.io/hostname" if names("c2") => Some("c2".into()),
        "type" if names("virtual-kubelet") => Some("virtual-kubelet".into()),
        _ => node.get(key).cloned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn required_affinity_selects_the_nodes_of_the_source_that_the_user_meant(
        terms in vec(term(), 1..4),
        node in btree_map(
            select(vec!["type", "kubernetes.io/hostname", "gpu"]).prop_map(Into::into),
            select(vec!["n1", "yes"]).prop_map(Into::into),
            0..4,
        ),
    ) {
        let affinity = |terms: &[Value]| {
            json!({ "affinity": { "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
            }}})
        };
        let spec = forged_spec(affinity(&terms));
        prop_assert_eq!(&forged_spec(spec.clone()), &spec);
        let path = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
        let is_wanted = terms.iter().any(|term| matches(term, |one| value_for(one, &node)));
        match spec.pointer(path).and_then(Value::as_array) {
            Some(rest) => {
                let key = |one: &Value| one["key"].as_str().unwrap().to_owned();
                let is_selected = rest.iter().any(|term| matches(term, |one| node.get(&key(one)).cloned()));
                prop_assert_eq!(is_selected, is_wanted);
            }
            // Any node: the virtual node was all that was wanted, or the pod was bound to it against its affinity.
            None => {
                let excludes_virtual_node = |one: &Value| {
                    let value = value_for(one, &Strings::new());
                    value.is_some() && !is_fulfilled(one, value.as_ref())
                };
                let is_impossible = |term: &Value| {
                    requirements(term).is_empty() || requirements(term).iter().any(excludes_virtual_node)
                };
                prop_assert!(is_wanted || terms.iter().all(is_impossible));
            }
        }
    }
}
