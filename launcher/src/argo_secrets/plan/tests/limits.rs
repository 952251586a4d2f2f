//! One Secret takes limited time and memory.

use super::*;

#[test]
fn a_namespace_with_many_contexts_of_unknown_clusters_has_one_problem() {
    let controller = kubeconfig("argo", "cluster-1", SERVER, "remote", "t0ken");
    let numbers = (0..5_000).map(|number| format!("other-{number}"));
    let plan = planned(None, &[&controller, &contexts("local", numbers)], &[]);
    assert_eq!(launches(&plan), ["argo cluster-1/remote t0ken"]);
    let problem = problem(&plan);
    assert!(problem.contains("other-9 and 4990 more"), "{problem}");
}

#[test]
fn a_context_that_is_repeated_many_times_has_one_problem() {
    let controller = kubeconfig("argo", "cluster-1", SERVER, "remote", "t0ken");
    let repeated = contexts("local", vec!["cluster-1".to_owned(); 5_000]);
    let plan = planned(None, &[&controller, &repeated], &[]);
    assert_eq!(launches(&plan), ["argo cluster-1/remote t0ken"]);
    let problem = problem(&plan);
    assert!(problem.contains("5000 contexts with the name cluster-1"), "{problem}");
}

#[test]
fn a_kubeconfig_has_at_most_1000_contexts() {
    let names = || (0..1_001).map(|number| format!("c{number}"));
    let entries = |kind: &str, value: Value| -> Value {
        names().map(|name| json!({ "name": name, kind: value })).collect()
    };
    let context = |name: String| json!({ "name": name, "context": { "cluster": name, "user": "me" } });
    let contexts: Value = names().map(context).collect();
    let document = json!({
        "clusters": entries("cluster", json!({ "server": "https://1.2.3.4:6443" })),
        "contexts": contexts,
        "users": [{ "name": "me", "user": { "token": "t0ken" } }],
    });
    let controller = secret("argo", KUBECONFIG, &[("value", document.to_string())]);
    let plan = planned(None, &[&controller], &[]);
    assert_eq!(plan.launches.len(), 1_000);
    let problem = problem(&plan);
    assert!(problem.starts_with("Secret argo/kubeconfig has 1001 contexts"), "{problem}");
    assert!(plan.lacks(Design::Kubeconfigs, &launch("argo", "c1000")));
}

#[test]
fn there_are_at_most_1000_profiles() {
    let profile = |number| profile(&format!("{number:04}"), &format!("c{number}"), [None, None], "t0ken");
    let profiles: Vec<_> = (0..1_001).map(profile).collect();
    let plan = planned(None, &[], &profiles.iter().collect::<Vec<_>>());
    assert_eq!(plan.launches.len(), 1_000);
    assert!(problem(&plan).starts_with("there are 1001 profiles"), "{}", problem(&plan));
    assert!(plan.lacks(Design::Profiles, &launch("argo", "c1000")));
}
