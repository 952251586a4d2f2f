use rstest::rstest;
use serde_json::json;

use super::*;
use crate::node::Platform;
use crate::node::capacity::{Offer, Quota, capacity};

const EARLIER: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-02T00:00:00Z";

fn node() -> VirtualNode {
    let endpoint = "10.0.0.7:10250".parse().unwrap();
    VirtualNode { name: "c2".into(), cluster_uid: "home-uid".into(), endpoint, platform: Platform::default() }
}

fn offered(annotation: &str, quota: Option<Quota>) -> Capacity {
    let annotation = (!annotation.is_empty()).then(|| annotation.to_owned());
    let (import, remote_namespace) = ("team-a/c2".into(), "team-a".into());
    capacity(&[Offer { import, annotation, remote_namespace, quota, lacks_access: false }])
}

fn unreachable() -> Reachability {
    Reachability::Unreachable { reason: "SourceUnavailable", message: "no response within 5s".into() }
}

fn desire(observed: Option<&NodeStatus>, reachability: &Reachability, capacity: &Capacity) -> NodeStatus {
    desired(&node(), observed, reachability, capacity, "v1.36.3-mcsa-0.1.0")
}

/// The status that was stored at [`EARLIER`].
fn stored(reachability: &Reachability, capacity: &Capacity) -> NodeStatus {
    timed(&desire(None, reachability, capacity), None, EARLIER.parse().unwrap())
}

fn shown(status: &NodeStatus, type_: &str) -> String {
    let condition = condition(Some(status), type_).unwrap();
    let (reason, message) = (condition.reason.as_ref().unwrap(), condition.message.as_ref().unwrap());
    format!("{} {reason}: {message}", condition.status)
}

#[test]
fn status_has_what_api_server_and_scheduler_need() {
    let status = stored(&Reachability::Reachable, &offered("cpu=7,memory=2Gi", Some(Quota::default())));
    let status = serde_json::to_value(status).unwrap();
    assert_eq!(status["addresses"], json!([{ "type": "InternalIP", "address": "10.0.0.7" }]));
    assert_eq!(status["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
    let amounts = json!({ "cpu": "7", "memory": "2Gi", "ephemeral-storage": "1Pi", "pods": "10k" });
    assert_eq!((&status["capacity"], &status["allocatable"]), (&amounts, &amounts));
    let statuses: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| {
            format!("{}={}", condition["type"].as_str().unwrap(), condition["status"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        statuses,
        [
            "Ready=True",
            "MemoryPressure=False",
            "DiskPressure=False",
            "PIDPressure=False",
            "NetworkUnavailable=False",
            "SourceReachable=True",
            "CapacityKnown=True",
        ]
    );
}

#[test]
fn node_stays_ready_while_its_source_is_away() {
    let capacity = offered("", Some(Quota::default()));
    let observed = stored(&Reachability::Reachable, &capacity);
    let status = desire(Some(&observed), &unreachable(), &capacity);
    assert!(shown(&status, "Ready").starts_with("True "));
    assert_eq!(shown(&status, SOURCE_REACHABLE), "False SourceUnavailable: no response within 5s");
    assert!(differs(Some(&observed), &status));
}

#[rstest]
#[case::first_start(None, "Unknown NotChecked: the source was not checked yet")]
#[case::restart_while_away(Some(unreachable()), "False SourceUnavailable: no response within 5s")]
#[case::restart(Some(Reachability::Reachable), "True SourceReady: the source responds")]
fn what_was_known_stays_until_the_source_is_checked(
    #[case] before: Option<Reachability>,
    #[case] expected: &str,
) {
    let capacity = offered("", Some(Quota::default()));
    let observed = before.map(|before| stored(&before, &capacity));
    let status = desire(observed.as_ref(), &Reachability::Unknown, &capacity);
    assert_eq!(shown(&status, SOURCE_REACHABLE), expected);
    assert_eq!(differs(observed.as_ref(), &status), observed.is_none());
}

#[test]
fn capacity_stays_until_the_quotas_are_read() {
    let observed = stored(&Reachability::Reachable, &offered("cpu=7", Some(Quota::default())));
    let status = desire(Some(&observed), &Reachability::Reachable, &offered("", None));
    assert_eq!(status.capacity, observed.capacity);
    assert!(shown(&status, CAPACITY_KNOWN).starts_with("Unknown QuotaNotRead: "));
    let first = desire(None, &Reachability::Reachable, &offered("", None));
    assert_eq!(first.allocatable.unwrap()["pods"].0, "0");
}

#[test]
fn invalid_annotation_is_a_condition() {
    let status = desire(None, &Reachability::Reachable, &offered("mem=1", Some(Quota::default())));
    let shown = shown(&status, CAPACITY_KNOWN);
    let expected = "False InvalidCapacity: ServiceAccountImport team-a/c2: annotation ";
    assert!(shown.starts_with(expected), "{shown}");
}

#[test]
fn transition_time_changes_with_the_status_alone() {
    let capacity = offered("", Some(Quota::default()));
    let observed = stored(&Reachability::Reachable, &capacity);
    let status =
        timed(&desire(Some(&observed), &unreachable(), &capacity), Some(&observed), NOW.parse().unwrap());
    let times = |type_| {
        let condition = condition(Some(&status), type_).unwrap();
        let time = |time: &Option<Time>| time.as_ref().unwrap().0.to_string();
        (time(&condition.last_transition_time), time(&condition.last_heartbeat_time))
    };
    assert_eq!(times("Ready"), (EARLIER.to_owned(), NOW.to_owned()));
    assert_eq!(times(SOURCE_REACHABLE), (NOW.to_owned(), NOW.to_owned()));
}

#[test]
fn status_that_another_program_changed_differs() {
    let capacity = offered("", Some(Quota::default()));
    let stored = stored(&Reachability::Reachable, &capacity);
    let desired = desire(Some(&stored), &Reachability::Reachable, &capacity);
    let changed = |change: &dyn Fn(&mut NodeStatus)| {
        let mut observed = stored.clone();
        change(&mut observed);
        differs(Some(&observed), &desired)
    };
    let set = |map: &mut Option<BTreeMap<String, Quantity>>, name: &str, amount: &str| {
        map.as_mut().unwrap().insert(name.into(), Quantity(amount.into()));
    };
    assert!(!changed(&|_| ()));
    assert!(!changed(&|status| status.conditions.as_mut().unwrap().push(new("Gpu", "True", "Ok", ""))));
    assert!(!changed(&|status| set(&mut status.capacity, "example.com/device", "4")));
    assert!(!changed(&|status| set(&mut status.capacity, "cpu", "100000")));
    assert!(changed(&|status| status.conditions.as_mut().unwrap()[0].status = "Unknown".into()));
    assert!(changed(&|status| set(&mut status.allocatable, "cpu", "1")));
    assert!(changed(&|status| status.addresses = None));
    assert!(changed(&|status| status.daemon_endpoints = None));
    assert!(differs(None, &desired));
}

#[rstest]
#[case::release(Some("v1.36.3"), "v1.36.3")]
#[case::vendor(Some("v1.33.1-gke.100"), "v1.33.1")]
#[case::build(Some("v1.34.0+k3s1"), "v1.34.0")]
#[case::empty(Some(""), "v1.33.0")]
#[case::unknown(None, "v1.33.0")]
fn version_is_that_of_the_api_server_with_ours(#[case] api_server: Option<&str>, #[case] release: &str) {
    assert_eq!(kubelet_version(api_server), format!("{release}-mcsa-{}", env!("CARGO_PKG_VERSION")));
}
