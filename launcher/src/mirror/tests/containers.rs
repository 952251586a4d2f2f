//! Statuses of containers.

use super::*;

fn pods(policy: &str, before: Value, after: Value) -> (Pod, Pod) {
    let status = |container: Value| json!({ "phase": "Running", "containerStatuses": [container] });
    let mut home = home(status(before));
    home.spec.as_mut().unwrap().restart_policy = Some(policy.into());
    (home, remote(status(after)))
}

fn only(pod: &Pod) -> Value {
    json!(status(pod).container_statuses.as_ref().unwrap()[0])
}

#[rstest]
#[case::never("Never", exited(1, AT), running(LATER), false)]
#[case::never_waits("Never", exited(0, AT), waiting("PodInitializing"), false)]
#[case::success("OnFailure", exited(0, AT), running(LATER), false)]
#[case::failure("OnFailure", exited(1, AT), running(LATER), true)]
#[case::always("Always", exited(0, AT), running(LATER), true)]
#[case::ends("Never", running(AT), exited(1, AT), true)]
fn terminated_container_restarts_only_by_policy(
    #[case] policy: &str,
    #[case] before: Value,
    #[case] after: Value,
    #[case] is_copied: bool,
) {
    let (before, after) = (container("main", 0, before), container("main", 0, after));
    let (home, remote) = pods(policy, before.clone(), after.clone());
    assert_eq!(only(&mirrored(&home, &remote)), if is_copied { after } else { before });
}

#[test]
fn restart_by_a_rule_is_known_by_its_count() {
    let restarted = container("main", 1, running(LATER));
    let (home, remote) = pods("Never", container("main", 0, exited(42, AT)), restarted.clone());
    assert_eq!(only(&mirrored(&home, &remote)), restarted);
}

#[test]
fn policy_of_a_container_overrides_that_of_the_pod() {
    let (mut home, remote) =
        pods("Never", container("main", 0, exited(0, AT)), container("main", 0, running(LATER)));
    home.spec.as_mut().unwrap().containers[0].restart_policy = Some("Always".into());
    assert_eq!(only(&mirrored(&home, &remote)), container("main", 0, running(LATER)));
}

#[test]
fn older_run_is_not_copied() {
    let latest = container("main", 3, running(LATER));
    let (home, remote) = pods("Always", latest.clone(), container("main", 2, running(AT)));
    assert_eq!(only(&mirrored(&home, &remote)), latest);
}

#[test]
fn restart_count_does_not_decrease() {
    let (home, remote) =
        pods("Always", container("main", 3, running(AT)), container("main", 0, running(LATER)));
    assert_eq!(only(&mirrored(&home, &remote)), container("main", 3, running(LATER)));
}

#[test]
fn init_and_ephemeral_containers_are_mirrored_if_the_home_pod_has_them() {
    let lists = json!({
        "phase": "Pending",
        "initContainerStatuses": [container("init", 0, running(AT)), container("injected", 0, running(AT))],
        "ephemeralContainerStatuses": [container("debug", 0, running(AT)), container("other", 0, running(AT))],
    });
    let mut home = bound();
    let spec = home.spec.as_mut().unwrap();
    spec.init_containers = Some(vec![Container { name: "init".into(), ..Container::default() }]);
    spec.ephemeral_containers = serde_json::from_value(json!([{ "name": "debug" }])).unwrap();
    let home = mirrored(&home, &remote(lists));
    let names = |list: &Option<Vec<ContainerStatus>>| {
        list.iter().flatten().map(|status| status.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&status(&home).init_container_statuses), ["init"]);
    assert_eq!(names(&status(&home).ephemeral_container_statuses), ["debug"]);
}

#[test]
fn fields_of_a_container_status_are_replaced() {
    let mut before = container("main", 0, waiting("CrashLoopBackOff"));
    before["resources"] = json!({ "requests": { "cpu": "1" } });
    before["lastState"] = exited(1, AT);
    let after = container("main", 1, running(LATER));
    let (home, remote) = pods("Always", before, after.clone());
    assert_eq!(only(&mirrored(&home, &remote)), after);
}
