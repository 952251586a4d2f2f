//! Properties that hold for any pods.

use super::*;
use crate::mirror::conditions::{CONTAINERS_READY, READY, condition};
use crate::mirror::containers::terminated;
use crate::mirror::phase::Phase;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn time() -> impl Strategy<Value = Option<String>> {
    option::weighted(0.8, (0..5).prop_map(|minute| format!("2026-01-01T00:0{minute}:00Z")))
}

fn text() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![None, Some(""), Some("a"), Some("b")])
}

fn condition_list() -> impl Strategy<Value = Value> {
    let types = [
        "Ready",
        "ContainersReady",
        "Initialized",
        "PodScheduled",
        "DisruptionTarget",
        "PodReadyToStartContainers",
        "PodResizePending",
        "example.com/gate",
        "example.com/other",
    ];
    let condition = (select(vec!["True", "False", "Unknown"]), text(), text(), time(), option::of(1..4));
    btree_map(select(types.to_vec()), condition, 0..6).prop_map(|conditions| {
        let conditions = conditions.into_iter().map(|(type_, (status, reason, message, at, generation))| {
            json!({
                "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at,
                "observedGeneration": generation,
            })
        });
        conditions.collect()
    })
}

fn container_state() -> impl Strategy<Value = Value> {
    (0..3, time(), time(), select(vec![0, 1, 137])).prop_map(|(kind, from, to, exit_code)| match kind {
        0 => json!({ "waiting": { "reason": "r" } }),
        1 => json!({ "running": { "startedAt": from } }),
        _ => json!({ "terminated": { "exitCode": exit_code, "startedAt": from, "finishedAt": to } }),
    })
}

fn container_list(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let status =
        (any::<bool>(), 0..4, option::of(any::<bool>()), container_state(), option::of(container_state()));
    let names = subsequence(names.to_vec(), 0..=names.len()).prop_shuffle();
    (names, vec(status, 3)).prop_map(|(names, statuses)| {
        let all = names.into_iter().zip(statuses);
        let all = all.map(|(name, (ready, restart_count, started, state, last))| {
            json!({
                "name": name, "image": "i", "imageID": "", "ready": ready, "restartCount": restart_count,
                "started": started, "state": state, "lastState": last,
            })
        });
        all.collect()
    })
}

fn addresses() -> impl Strategy<Value = Value> {
    vec(select(vec!["10.0.0.1", "10.0.0.2", "fd00::1"]), 0..3).prop_map(|mut addresses| {
        addresses.dedup();
        addresses.into_iter().map(|ip| json!({ "ip": ip })).collect()
    })
}

fn any_status() -> impl Strategy<Value = Value> {
    let phase = select(vec![None, Some("Pending"), Some("Running"), Some("Running"), Some("Unknown")]);
    let ended = select(vec![Some("Succeeded"), Some("Failed")]);
    let phase = prop_oneof![4 => phase, 1 => ended];
    let texts = (select(vec![None, Some(""), Some("r"), Some("NodeLost")]), text());
    let containers = (
        container_list(&["init", "sidecar", "injected"]),
        container_list(&["main", "wait", "injected"]),
        container_list(&["debug", "other"]),
    );
    (phase, texts, condition_list(), containers, (addresses(), addresses()), time()).prop_map(
        |(phase, (reason, message), conditions, (init, main, ephemeral), (pod_ips, host_ips), at)| {
            json!({
                "phase": phase, "reason": reason, "message": message, "conditions": conditions, "startTime": at,
                "initContainerStatuses": init, "containerStatuses": main, "ephemeralContainerStatuses": ephemeral,
                "podIP": pod_ips[0]["ip"], "podIPs": pod_ips, "hostIP": host_ips[0]["ip"], "hostIPs": host_ips,
            })
        },
    )
}

/// A home pod. Its status has only what such a pod can have: no phase `Unknown`, and no containers but its own.
fn any_home() -> impl Strategy<Value = Pod> {
    let policy = || select(vec!["Always", "OnFailure", "Never"]);
    let gates = option::of(select(vec!["example.com/gate", "Initialized", "PodScheduled"]));
    (any_status(), policy(), option::of(policy()), gates).prop_map(|(status, policy, of_main, gate)| {
        let mut pod = home(status);
        let spec = json!({
            "restartPolicy": policy,
            "readinessGates": gate.map(|gate| json!([{ "conditionType": gate }])),
            "initContainers": [{ "name": "init" }, { "name": "sidecar", "restartPolicy": "Always" }],
            "containers": [{ "name": "main", "restartPolicy": of_main }, { "name": "wait" }],
            "ephemeralContainers": [{ "name": "debug" }],
        });
        pod.spec = serde_json::from_value(spec).unwrap();
        let status = pod.status.as_mut().unwrap();
        if status.phase.as_deref() == Some("Unknown") {
            status.phase = Some(PENDING.into());
        }
        for list in [
            &mut status.init_container_statuses,
            &mut status.container_statuses,
            &mut status.ephemeral_container_statuses,
        ] {
            list.as_mut().unwrap().retain(|status| !["injected", "other"].contains(&status.name.as_str()));
        }
        pod
    })
}

fn all_containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = status(pod);
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten()
}

fn may_restart(pod: &Pod, name: &str, exit_code: i32) -> bool {
    let spec = pod.spec.as_ref().unwrap();
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let Some(found) = containers.into_iter().find(|found| found.name == name) else { return false };
    match found.restart_policy.as_ref().or(spec.restart_policy.as_ref()).unwrap().as_str() {
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

/// What holds for each step of a home pod that has not terminated before.
fn check_step(before: &Pod, after: &Pod) -> Result<(), TestCaseError> {
    let (old, new) = (status(before), status(after));
    prop_assert!(of(old) <= of(new));
    prop_assert!(["Pending", "Running", "Succeeded", "Failed"].contains(&new.phase.as_deref().unwrap()));
    for type_ in ["PodScheduled", "example.com/gate", "example.com/other"] {
        prop_assert_eq!(condition(Some(old), type_), condition(Some(new), type_));
    }
    for status in all_containers(after) {
        let Some(old) = all_containers(before).find(|old| old.name == status.name) else { continue };
        prop_assert!(old.restart_count <= status.restart_count);
        if let (Some(end), None) = (terminated(old), terminated(status)) {
            let is_restart = status.restart_count > old.restart_count;
            prop_assert!(is_restart || may_restart(before, &old.name, end.exit_code));
        }
    }
    let names = |pod: &Pod| all_containers(pod).map(|status| status.name.clone()).collect::<Vec<_>>();
    let after_names = names(after);
    prop_assert!(names(before).iter().all(|name| after_names.contains(name)), "no status is lost");
    prop_assert!(!after_names.iter().any(|name| name == "injected" || name == "other"));
    Ok(())
}

fn check_terminal(pod: &Pod) -> Result<(), TestCaseError> {
    for status in all_containers(pod) {
        prop_assert!(status.state.as_ref().is_some_and(|state| state.running.is_none()));
        prop_assert!(terminated(status).is_none() || !status.ready);
    }
    for type_ in [READY, CONTAINERS_READY] {
        let found = condition(pod.status.as_ref(), type_).unwrap();
        let reason =
            if status(pod).phase.as_deref() == Some(SUCCEEDED) { "PodCompleted" } else { "PodFailed" };
        prop_assert_eq!((found.status.as_str(), found.reason.as_deref()), ("False", Some(reason)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn home_pod_follows_forward_only(first in any_home(), remotes in vec(any_status(), 1..5)) {
        let mut home = first;
        for remote_status in remotes {
            let remote = remote(remote_status);
            let patch = mirror(&home, &remote, "c2").unwrap();
            if is_terminal(&home) {
                prop_assert_eq!(patch, None);
                break;
            }
            let Some(patch) = patch else { continue };
            let after = apply(&home, &patch);
            prop_assert_eq!(mirror(&after, &remote, "c2").unwrap(), None, "applied once is enough");
            prop_assert_eq!(&after.annotations()[REMOTE_UID], "ru");
            check_step(&home, &after)?;
            if is_terminal(&after) {
                check_terminal(&after)?;
                prop_assert!(is_urgent(&home, &patch));
            }
            let starts = of(status(&home)) < Phase::Running && of(status(&after)) == Phase::Running;
            prop_assert!(!starts || is_urgent(&home, &patch));
            home = after;
        }
    }

    #[test]
    fn vanished_pods_terminate(home in any_home(), last in option::of(any_status())) {
        let last = last.map(remote);
        let patch = gone(&home, last.as_ref(), "c2", now());
        prop_assert_eq!(patch.is_none(), is_terminal(&home));
        let Some(patch) = patch else { return Ok(()) };
        let after = apply(&home, &patch);
        check_step(&home, &after)?;
        check_terminal(&after)?;
        prop_assert!(is_terminal(&after) && is_urgent(&home, &patch));
        if last.is_none_or(|last| !is_terminal(&last)) {
            let names: Vec<_> = all_containers(&after).map(|status| status.name.as_str()).collect();
            prop_assert!(["init", "sidecar", "main", "wait"].iter().all(|name| names.contains(name)));
            prop_assert!(all_containers(&after).all(|status| terminated(status).is_some()));
        }
    }

    #[test]
    fn failed_pods_terminate(home in any_home()) {
        let patch = failed(&home, "R", "m", now());
        prop_assert_eq!(patch.is_none(), is_terminal(&home));
        let Some(patch) = patch else { return Ok(()) };
        let after = apply(&home, &patch);
        check_step(&home, &after)?;
        prop_assert_eq!(status(&after).reason.as_deref(), Some("R"));
        check_terminal(&after)?;
    }

    #[test]
    fn pods_that_ran_are_never_pending(home in any_home()) {
        let Some(patch) = pending(&home, "R", "m") else { return Ok(()) };
        prop_assert!(!all_containers(&home).any(|status| status.state.as_ref().unwrap().running.is_some()));
        let after = apply(&home, &patch);
        prop_assert_eq!(pending(&after, "R", "m"), None);
        check_step(&home, &after)?;
    }
}
