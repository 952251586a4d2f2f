use super::*;
use mcsa_credentials::contract::launch::{CLUSTER_NAME, ELECT, NODE_TAINT, REMOTE_NAMESPACE};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Namespace `team-a` of a cluster that sources know as c1 and as west.
fn home() -> Home<'static> {
    static NAMES: LazyLock<[String; 2]> = LazyLock::new(|| ["c1", "west"].map(str::to_owned));
    Home { namespace: "team-a", names: &*NAMES, uses_secrets: false }
}

/// Launch imports of c2 for two namespaces, and of c3 for one.
fn imports() -> Vec<LaunchImport> {
    imports_of(&[("c3", "team-a"), ("c2", "team-a"), ("c2", "batch")])
}

/// The result for a pod with these annotations, without their prefix.
fn place(annotations: &[(&str, &str)], imports: &[LaunchImport]) -> Option<Result<Placement, Refused>> {
    let annotations: Value =
        annotations.iter().map(|(key, value)| (format!("multicluster.admiralty.io/{key}"), *value)).collect();
    let pod = json!({ "metadata": { "annotations": annotations } });
    let pod = Pod::deserialize(&pod).unwrap();
    Some(Request::of(&pod)?.place(home(), imports))
}

fn placement(home: bool, clusters: &[&str]) -> Placement {
    let clusters = clusters.iter().map(ToString::to_string).collect();
    Placement { home, clusters, ..Placement::default() }
}

fn imports_of(pairs: &[(&str, &str)]) -> Vec<LaunchImport> {
    let import = |(cluster, namespace): &(&str, &str)| LaunchImport {
        cluster: (*cluster).into(),
        namespace: (*namespace).into(),
    };
    pairs.iter().map(import).collect()
}

#[rstest]
#[case::elect(&[("elect", "")], placement(true, &["c2", "c3"]))]
#[case::any_value(&[("elect", "{{x}}")], placement(true, &["c2", "c3"]))]
#[case::elect_of_a_namespace(&[("elect", ""), ("remote-namespace", "batch")], placement(true, &["c2"]))]
#[case::cluster(&[("clustername", "c2")], placement(false, &["c2"]))]
#[case::cluster_wins(&[("elect", ""), ("clustername", "c3")], placement(false, &["c3"]))]
#[case::namespace(&[("clustername", "c2"), ("remote-namespace", "batch")], placement(false, &["c2"]))]
#[case::own_name(&[("clustername", "c1")], placement(true, &[]))]
#[case::other_own_name(&[("clustername", "west")], placement(true, &[]))]
#[case::own_namespace(&[("clustername", "c1"), ("remote-namespace", "team-a")], placement(true, &[]))]
fn annotations_choose_clusters(#[case] annotations: &[(&str, &str)], #[case] expected: Placement) {
    assert_eq!(place(annotations, &imports()), Some(Ok(expected)));
}

/// As `select` of the launcher: a pod that it would not resolve must not be bound.
#[rstest]
#[case::one(&[("c2", "batch")], true)]
#[case::same_name_of_several(&[("c2", "batch"), ("c2", "team-a")], true)]
#[case::several(&[("c2", "batch"), ("c2", "other")], false)]
#[case::one_namespace_twice(&[("c2", "batch"), ("c2", "batch")], false)]
#[case::several_of_another_cluster(&[("c2", "batch"), ("c3", "batch"), ("c3", "other")], true)]
fn cluster_is_chosen_only_if_the_launcher_can_select_an_import(
    #[case] imports: &[(&str, &str)],
    #[case] is_placed: bool,
) {
    let placed = place(&[("clustername", "c2")], &imports_of(imports)).unwrap();
    assert_eq!(placed.is_ok(), is_placed, "{placed:?}");
    let annotated = [("clustername", "c2"), ("remote-namespace", "batch")];
    let placed = place(&annotated, &imports_of(imports)).unwrap();
    assert_eq!(placed, Ok(placement(false, &["c2"])), "the annotation selects one");
}

#[test]
fn ambiguous_cluster_is_denied_with_its_namespaces() {
    let imports = imports_of(&[("c2", "other"), ("c2", "batch"), ("c3", "x")]);
    let refused = place(&[("clustername", "c2")], &imports).unwrap().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "annotation multicluster.admiralty.io/clustername is \"c2\", but namespace team-a has launch imports of it for \
         several namespaces: choose one of batch, other with annotation multicluster.admiralty.io/remote-namespace"
    );
}

#[test]
fn ambiguous_cluster_is_left_out_with_a_warning() {
    let request = Request { cluster: None, remote_namespace: None };
    let mut imports = imports_of(&[("c2", "other"), ("c2", "batch")]);
    let cases: [&[&str]; 2] = [&[], &["c3"]];
    for elected in cases {
        let placed = request.place(home(), &imports).unwrap();
        assert_eq!((placed.home, &*placed.clusters), (true, &*placement(true, elected).clusters));
        let warning = request.warning(home(), &placed).unwrap();
        assert!(warning.len() <= 256, "the API server may cut it: {warning}");
        assert!(warning.ends_with("does not run in c2 (batch, other)"), "{warning}");
        assert!(warning.contains("annotation multicluster.admiralty.io/remote-namespace"), "{warning}");
        imports.extend(imports_of(&[("c3", "x")]));
    }
    let chosen = Request { remote_namespace: Some("batch"), ..request };
    assert_eq!(chosen.place(home(), &imports), Ok(placement(true, &["c2"])));
}

#[rstest]
#[case(&[])]
#[case(&[("remote-namespace", "batch")])]
#[case(&[("elect", ""), ("clustername", "c9")])]
fn pod_that_asks_for_nothing_has_no_request(#[case] annotations: &[(&str, &str)]) {
    let mirror = json!({ "metadata": { "annotations": {
        "kubernetes.io/config.mirror": "x", "multicluster.admiralty.io/elect": "",
    } } });
    assert_eq!(Request::of(&Pod::deserialize(&mirror).unwrap()), None);
    assert_eq!(place(annotations, &imports()).is_some(), annotations.len() > 1);
}

#[rstest]
#[case::alone(json!({ REMOTE_NAMESPACE: "batch" }), json!({}), true)]
#[case::other_toleration(json!({ REMOTE_NAMESPACE: "batch" }), json!({ "key": "other" }), true)]
#[case::tolerates_every_taint(json!({ REMOTE_NAMESPACE: "batch" }), json!({ "operator": "Exists" }), true)]
#[case::tolerates_virtual_nodes(json!({ REMOTE_NAMESPACE: "batch" }), json!({ "key": NODE_TAINT }), false)]
#[case::elect(json!({ REMOTE_NAMESPACE: "batch", ELECT: "" }), json!({}), false)]
#[case::cluster(json!({ REMOTE_NAMESPACE: "batch", CLUSTER_NAME: "c2" }), json!({}), false)]
#[case::mirror(json!({ REMOTE_NAMESPACE: "batch", "kubernetes.io/config.mirror": "x" }), json!({}), false)]
#[case::nothing(json!({}), json!({}), false)]
fn namespace_that_has_no_effect_is_warned_of(
    #[case] annotations: Value,
    #[case] toleration: Value,
    #[case] expected: bool,
) {
    let pod = json!({ "metadata": { "annotations": annotations }, "spec": { "tolerations": [toleration] } });
    let warning = unused_namespace(&Pod::deserialize(&pod).unwrap());
    assert_eq!(warning.is_some(), expected);
    assert!(warning.is_none_or(|warning| warning.contains(ELECT) && warning.contains(CLUSTER_NAME)));
}

#[rstest]
#[case::unknown_cluster(
    &[("clustername", "c9")],
    "annotation multicluster.admiralty.io/clustername is \"c9\", but namespace team-a has launch imports of c2, c3 only; \
     choose one of these or c1 (this cluster), or run kubemcsa launch team-a --target-context TARGET --source-context SOURCE"
)]
#[case::unknown_namespace(
    &[("clustername", "c3"), ("remote-namespace", "batch")],
    "annotation multicluster.admiralty.io/remote-namespace is \"batch\", but namespace team-a has launch imports of c3 \
     for team-a only; choose one of these, or run kubemcsa launch team-a --remote-namespace NAMESPACE --target-context \
     TARGET --source-context SOURCE"
)]
#[case::elect_of_an_unknown_namespace(
    &[("elect", ""), ("remote-namespace", "x")],
    "annotation multicluster.admiralty.io/remote-namespace is \"x\", but namespace team-a has launch imports for batch, \
     team-a only; choose one of these, or run kubemcsa launch team-a --remote-namespace NAMESPACE --target-context \
     TARGET --source-context SOURCE"
)]
#[case::template(
    &[("clustername", "{{inputs.parameters.cluster}}")],
    "annotation multicluster.admiralty.io/clustername is \"{{inputs.parameters.cluster}}\", which is a template: set the \
     parameter that it refers to, or write the name of a cluster"
)]
#[case::template_of_a_namespace(
    &[("elect", ""), ("remote-namespace", "a-{{=x}}")],
    "annotation multicluster.admiralty.io/remote-namespace is \"a-{{=x}}\", which is a template: set the parameter that \
     it refers to, or write the name of a namespace"
)]
#[case::empty(
    &[("clustername", "")],
    "annotation multicluster.admiralty.io/clustername is empty: write the name of a cluster, or remove the annotation"
)]
#[case::other_namespace_at_home(
    &[("clustername", "c1"), ("remote-namespace", "batch")],
    "annotation multicluster.admiralty.io/remote-namespace is \"batch\", but annotation \
     multicluster.admiralty.io/clustername is \"c1\", the name of this cluster, where the pod runs in its own namespace \
     team-a; remove annotation multicluster.admiralty.io/remote-namespace"
)]
fn refusal_names_the_mend(#[case] annotations: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(place(annotations, &imports()).unwrap().unwrap_err().to_string(), expected);
}

#[rstest]
#[case(
    &[("clustername", "c2")],
    "annotation multicluster.admiralty.io/clustername is \"c2\", but namespace team-a has no launch import; choose c1 \
     (this cluster), or run kubemcsa launch team-a --target-context TARGET --source-context SOURCE"
)]
#[case(
    &[("elect", ""), ("remote-namespace", "batch")],
    "annotation multicluster.admiralty.io/remote-namespace is \"batch\", but namespace team-a has no launch import; run \
     kubemcsa launch team-a --remote-namespace NAMESPACE --target-context TARGET --source-context SOURCE"
)]
fn refusal_says_that_there_is_no_launch_import(#[case] annotations: &[(&str, &str)], #[case] expected: &str) {
    assert_eq!(place(annotations, &[]).unwrap().unwrap_err().to_string(), expected);
}

#[test]
fn elect_without_launch_imports_stays_home_with_a_warning() {
    let request = Request { cluster: None, remote_namespace: None };
    let placed = request.place(home(), &[]).unwrap();
    assert_eq!(placed, placement(true, &[]));
    let warning = request.warning(home(), &placed).unwrap();
    assert!(warning.len() <= 256, "the API server may cut it: {warning}");
    assert!(warning.contains("kubemcsa launch team-a "), "{warning}");
    assert_eq!(request.warning(home(), &placement(true, &["c2"])), None);
    let own = Request { cluster: Some("c1"), ..request };
    assert_eq!(own.warning(home(), &placed), None);
}

#[rstest]
#[case(Request { cluster: None, remote_namespace: None }, &[], true)]
#[case(Request { cluster: None, remote_namespace: Some("x") }, &imports(), true)]
#[case(Request { cluster: Some("c9"), remote_namespace: None }, &imports(), true)]
#[case(Request { cluster: Some("c3"), remote_namespace: Some("batch") }, &imports(), true)]
#[case(Request { cluster: Some("c2"), remote_namespace: None }, &imports_of(&[("c2", "x"), ("c2", "y")]), true)]
#[case(Request { cluster: None, remote_namespace: None }, &imports(), false)]
#[case(Request { cluster: Some("c2"), remote_namespace: None }, &imports(), false)]
#[case(Request { cluster: Some("c1"), remote_namespace: None }, &[], false)]
#[case(Request { cluster: Some("{{x}}"), remote_namespace: None }, &[], false)]
#[case(Request { cluster: Some(""), remote_namespace: None }, &[], false)]
fn only_results_that_more_imports_could_change_lack_imports(
    #[case] request: Request,
    #[case] imports: &[LaunchImport],
    #[case] expected: bool,
) {
    assert_eq!(request.lacks_imports(&request.place(home(), imports)), expected);
}

#[rstest]
#[case::unknown_cluster("c9", None, true)]
#[case::unknown_namespace("c3", Some("batch"), true)]
#[case::both("c9", Some("batch"), true)]
#[case::own_name_with_another_namespace("c1", Some("batch"), false)]
#[case::template("{{x}}", None, false)]
#[case::template_of_a_namespace("c9", Some("{{x}}"), false)]
#[case::empty("", None, false)]
#[case::too_long(&"x".repeat(64), None, false)]
#[case::no_label_value("a/b", None, false)]
#[case::no_namespace("c9", Some("a/b"), false)]
fn cluster_without_a_launch_import_is_chosen_only_if_secrets_are_used(
    #[case] cluster: &str,
    #[case] remote_namespace: Option<&str>,
    #[case] is_placed: bool,
) {
    let request = Request { cluster: Some(cluster), remote_namespace };
    let refused = request.place(home(), &imports()).unwrap_err();
    let placed = request.place(Home { uses_secrets: true, ..home() }, &imports());
    let by_secret = Placement { by_secret: true, ..placement(false, &[cluster]) };
    assert_eq!(placed, if is_placed { Ok(by_secret) } else { Err(refused) });
}

#[rstest]
#[case::elect(Request { cluster: None, remote_namespace: Some("x") })]
#[case::several_namespaces(Request { cluster: Some("c2"), remote_namespace: None })]
fn secrets_do_not_permit_what_is_refused_for_another_reason(#[case] request: Request) {
    let imports = imports_of(&[("c2", "other"), ("c2", "batch")]);
    let refused = request.place(home(), &imports).unwrap_err();
    assert_eq!(request.place(Home { uses_secrets: true, ..home() }, &imports), Err(refused));
}

#[rstest]
#[case(None, "cluster c3")]
#[case(Some("batch"), "namespace batch of cluster c3")]
fn cluster_without_a_launch_import_is_warned_of(
    #[case] remote_namespace: Option<&str>,
    #[case] expected: &str,
) {
    let request = Request { cluster: Some("c3"), remote_namespace };
    let home = Home { uses_secrets: true, ..home() };
    let warning = request.warning(home, &request.place(home, &[]).unwrap()).unwrap();
    assert_eq!(
        warning,
        format!(
            "the pod waits unless a launch import or a Secret of Argo Workflows gives namespace team-a access to \
             {expected}"
        )
    );
}

#[test]
fn message_with_long_user_input_is_short() {
    let long = "x\n{{".repeat(10_000);
    for annotations in [[("clustername", &*long)], [("clustername", &long[..long.len() - 2])]] {
        let message = place(&annotations, &imports()).unwrap().unwrap_err().to_string();
        assert!(message.len() < 500 && !message.contains('\n'), "{message}");
    }
}
