//! Secrets and entries that exist, but can't be used.

use super::*;

/// The launches of a design that an unusable Secret or entry would give, of `namespace cluster`.
fn lacking(plan: &Plan, design: Design) -> Vec<String> {
    let all = ["argo c2", "argo c3", "local c2", "local c3"];
    let lacks = |line: &&str| {
        line.split_once(' ')
            .is_some_and(|(namespace, cluster)| plan.lacks(design, &launch(namespace, cluster)))
    };
    all.into_iter().filter(lacks).map(str::to_owned).collect()
}

#[test]
fn entries_that_can_not_be_used_are_known() {
    let plan =
        planned(Some(&clusters(&[("c2", "{ t0ken".to_owned()), ("c3", rest_config("t0ken"))])), &[], &[]);
    assert_eq!(lacking(&plan, Design::RestConfigs), ["argo c2", "local c2"]);
    assert!(lacking(&plan, Design::Kubeconfigs).is_empty());

    let broken = |namespace: &str| secret(namespace, KUBECONFIG, &[("value", "clusters: t0ken".to_owned())]);
    let plan = planned(None, &[&broken("argo")], &[]);
    assert_eq!(lacking(&plan, Design::Kubeconfigs), ["argo c2", "argo c3"]);
    let controller = kubeconfig("argo", "c2", SERVER, "remote", "t0ken");
    let plan = planned(None, &[&controller, &broken("local")], &[]);
    assert_eq!(lacking(&plan, Design::Kubeconfigs), ["local c2"]);
    let without_user = contexts("local", ["c2".to_owned()]);
    let plan = planned(None, &[&controller, &without_user], &[]);
    assert_eq!(lacking(&plan, Design::Kubeconfigs), ["local c2"]);
    // The controller's Secret has lost the context: it was deleted.
    let plan = planned(None, &[&controller, &contexts("local", ["c3".to_owned()])], &[]);
    assert!(lacking(&plan, Design::Kubeconfigs).is_empty() && !plan.problems.is_empty());

    let mut broken = profile("broken", "c3", [Some("local"), None], "t0ken");
    broken.data = None;
    let [one, two] = ["one", "two"].map(|name| profile(name, "c2", [None, None], "t0ken"));
    let plan = planned(None, &[], &[&broken, &one, &two]);
    assert_eq!(lacking(&plan, Design::Profiles), ["argo c2", "local c3"]);
    assert!(lacking(&planned(None, &[], &[&one]), Design::Profiles).is_empty());
}
