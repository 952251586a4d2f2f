use std::sync::Mutex;

use mcsa_credentials::contract::launch::{NODE_TAINT, UNREACHABLE_TAINT};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::node::Platform;
use crate::node::fake_source::FakeSource;
use crate::node::fake_target::FakeTarget;

const STATUS: &str = "PATCH /api/v1/nodes/c2/status";
const LEASE: &str = "PATCH /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/c2";

struct Fixture {
    target: FakeTarget,
    members: watch::Sender<Vec<Member>>,
    state: watch::Sender<NodeState>,
    problems: Mutex<Vec<String>>,
}

impl Fixture {
    fn new(members: &[Member]) -> Self {
        let (members, state) = (watch::Sender::new(members.to_vec()), watch::Sender::default());
        Self { target: FakeTarget::default(), members, state, problems: Mutex::default() }
    }

    /// Maintains the node, and runs `test` meanwhile. Time advances only while both wait.
    async fn run(&self, test: impl Future<Output = ()>) {
        let endpoint = "10.0.0.7:10250".parse().unwrap();
        let node = VirtualNode {
            name: "c2".into(),
            cluster_uid: "home-uid".into(),
            endpoint,
            platform: Platform::default(),
        };
        let report = |error: &NodeError| self.problems.lock().unwrap().push(error.to_string());
        let (client, members) = (self.target.client(), self.members.subscribe());
        let maintained = maintain(client, node, members, report, &self.state);
        tokio::select! {
            never = maintained => match never {},
            () = test => {}
        }
    }

    fn is_ours(&self) -> bool {
        self.state.borrow().is_ours
    }

    fn is_maintained(&self) -> bool {
        self.state.borrow().is_maintained()
    }

    fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }

    fn condition(&self, type_: &str) -> String {
        let node = self.target.node();
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let condition = conditions.iter().find(|condition| condition["type"] == type_).cloned();
        condition.map(|condition| condition["status"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    fn taints(&self) -> Vec<String> {
        let node = self.target.node();
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.iter().map(|taint| taint["key"].as_str().unwrap().to_owned()).collect()
    }
}

/// Waits until this holds, for an hour of the paused clock at most.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(Duration::from_secs(3600), wait).await.is_ok(), "{what}");
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn node_and_lease_are_created_with_the_capacity_of_the_source() {
    let source = FakeSource::with_quotas(&[json!({ "cpu": "7" })]);
    let fixture = Fixture::new(&[source.member()]);
    fixture
        .run(async {
            eventually("capacity", || fixture.target.node()["status"]["allocatable"]["cpu"] == "7").await;
            eventually("reachable", || fixture.condition("SourceReachable") == "True").await;
        })
        .await;
    assert_eq!(fixture.taints(), [NODE_TAINT]);
    assert_eq!(fixture.condition("Ready"), "True");
    let version = fixture.target.node()["status"]["nodeInfo"]["kubeletVersion"].clone();
    assert!(version.as_str().unwrap().starts_with("v1.36.3-mcsa-"), "{version}");
    let lease = fixture.target.state().lease.clone().unwrap();
    assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], fixture.target.node()["metadata"]["uid"]);
    assert_eq!(fixture.problems(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_every_ten_seconds_and_the_status_every_minute() {
    let source = FakeSource::with_quotas(&[]);
    let fixture = Fixture::new(&[source.member()]);
    fixture
        .run(async {
            seconds(5).await;
            let (leases, statuses) = (fixture.target.count(LEASE), fixture.target.count(STATUS));
            seconds(600).await;
            let leases = fixture.target.count(LEASE) - leases;
            let statuses = fixture.target.count(STATUS) - statuses;
            assert!((59..=61).contains(&leases) && (9..=10).contains(&statuses), "{leases} {statuses}");
            assert_eq!(fixture.target.count("PATCH /api/v1/nodes/c2"), 0, "nothing else is written");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn deleted_node_is_created_again_within_five_seconds() {
    let fixture = Fixture::new(&[]);
    fixture
        .run(async {
            seconds(100).await;
            for _ in 0..3 {
                let before = fixture.target.node()["metadata"]["uid"].clone();
                fixture.target.delete_node();
                seconds(5).await;
                let after = fixture.target.node()["metadata"]["uid"].clone();
                assert!(after.is_string() && after != before, "{after}");
                assert_eq!(fixture.condition("Ready"), "True");
                let lease = fixture.target.state().lease.clone().unwrap();
                assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], after);
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn deletion_that_the_watch_does_not_report_is_found_before_pods_are_collected() {
    let fixture = Fixture::new(&[]);
    fixture
        .run(async {
            seconds(15).await;
            fixture.target.state().node = None;
            seconds(15).await;
            assert_eq!(fixture.condition("Ready"), "True");
            assert_eq!(fixture.problems(), [""; 0]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn node_of_others_is_never_touched() {
    let fixture = Fixture::new(&[]);
    fixture.target.create_node(json!({ "metadata": { "labels": { "kubernetes.io/os": "linux" } } }));
    let foreign = fixture.target.node();
    fixture
        .run(async {
            seconds(300).await;
            assert_eq!(fixture.target.node(), foreign);
            assert_eq!(fixture.target.count(LEASE), 0, "its kubelet renews the Lease");
            let [problem] = fixture.problems().try_into().unwrap();
            assert!(problem.starts_with("Node c2 exists, and the launcher did not create it"), "{problem}");
            fixture.target.delete_node();
            seconds(5).await;
            assert_eq!(fixture.condition("Ready"), "True", "the name is free now");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn node_that_lost_its_mark_is_left_alone() {
    let fixture = Fixture::new(&[]);
    fixture
        .run(async {
            seconds(5).await;
            fixture.target.change_node(&json!({ "metadata": { "annotations": null } }));
            seconds(15).await;
            let leases = fixture.target.count(LEASE);
            seconds(100).await;
            assert_eq!(fixture.target.count(LEASE), leases);
            assert_eq!(fixture.problems().len(), 1);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn node_is_ours_only_while_it_is_observed_with_our_mark() {
    let fixture = Fixture::new(&[]);
    fixture.target.create_node(json!({ "metadata": {} }));
    fixture
        .run(async {
            seconds(30).await;
            assert!(!fixture.is_ours(), "a node of others");
            fixture.target.delete_node();
            eventually("created", || fixture.is_ours()).await;
            seconds(30).await;
            let marked = fixture.target.node()["metadata"]["annotations"].clone();
            fixture.target.change_node(&json!({ "metadata": { "annotations": null } }));
            seconds(1).await;
            assert!(!fixture.is_ours(), "it lost the mark");
            fixture.target.change_node(&json!({ "metadata": { "annotations": marked } }));
            eventually("marked", || fixture.is_ours()).await;
            fixture.target.state().refused = Some((500, "GET /api/v1/nodes/c2"));
            eventually("unknown", || !fixture.is_ours()).await;
            fixture.target.state().refused = None;
            eventually("known", || fixture.is_ours()).await;
        })
        .await;
    assert!(!fixture.is_ours(), "it is not observed any more");
}

#[tokio::test(start_paused = true)]
async fn node_is_ours_although_its_status_cannot_be_written() {
    let fixture = Fixture::new(&[]);
    fixture.target.state().refused = Some((403, STATUS));
    fixture
        .run(async {
            for _ in 0..100 {
                seconds(3).await;
                assert!(fixture.is_ours());
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn node_is_maintained_only_while_its_lease_and_its_status_are_written() {
    let fixture = Fixture::new(&[]);
    fixture
        .run(async {
            for request in [LEASE, STATUS] {
                eventually("maintained", || fixture.is_maintained()).await;
                fixture.target.state().refused = Some((403, request));
                eventually(request, || !fixture.is_maintained()).await;
                assert!(fixture.is_ours());
                fixture.target.state().refused = None;
            }
            eventually("maintained again", || fixture.is_maintained()).await;
            fixture.target.change_node(&json!({ "metadata": { "annotations": null } }));
            eventually("it lost the mark", || !fixture.is_maintained()).await;
        })
        .await;
    assert!(!fixture.is_maintained());
}

#[tokio::test(start_paused = true)]
async fn what_others_write_stays() {
    let source = FakeSource::with_quotas(&[]);
    let fixture = Fixture::new(&[source.member()]);
    fixture
        .run(async {
            seconds(30).await;
            let taints = json!([{ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }]);
            fixture.target.change_node(&json!({
                "metadata": { "labels": { "pool": "remote", "type": "other" } },
                "spec": { "unschedulable": true, "taints": taints },
            }));
            seconds(5).await;
            let node = fixture.target.node();
            let labels = &node["metadata"]["labels"];
            assert_eq!((&labels["pool"], &labels["type"]), (&json!("remote"), &json!("virtual-kubelet")));
            assert_eq!(node["spec"]["unschedulable"], true);
            assert_eq!(fixture.taints(), ["node.kubernetes.io/unschedulable", NODE_TAINT]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn source_that_is_away_gets_a_taint_and_its_node_stays_ready() {
    let source = FakeSource::with_quotas(&[json!({ "cpu": "7" })]);
    let fixture = Fixture::new(&[source.member()]);
    fixture
        .run(async {
            eventually("reachable", || fixture.condition("SourceReachable") == "True").await;
            source.respond_with(500);
            eventually("unreachable", || fixture.condition("SourceReachable") == "False").await;
            assert_eq!(fixture.condition("Ready"), "True");
            assert_eq!(fixture.taints(), [NODE_TAINT, UNREACHABLE_TAINT]);
            assert_eq!(fixture.target.node()["status"]["capacity"]["cpu"], "7");
            source.respond_with(200);
            eventually("reachable again", || fixture.condition("SourceReachable") == "True").await;
            assert_eq!(fixture.taints(), [NODE_TAINT]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_others_use_of_a_quota_is_not_allocatable() {
    let source = FakeSource::with_quotas(&[json!({ "cpu": "7", "pods": "5" })]);
    source.add_pod("a", "1500m", None);
    source.add_pod("b", "500m", Some("uid-of-another-target"));
    source.add_pod("c", "1", Some("home-uid"));
    let fixture = Fixture::new(&[source.member()]);
    let allocatable = |name: &str| fixture.target.node()["status"]["allocatable"][name].clone();
    fixture.run(eventually("free", || allocatable("cpu") == "5" && allocatable("pods") == "3")).await;
    assert_eq!(fixture.target.node()["status"]["capacity"]["cpu"], "7");
}

#[tokio::test(start_paused = true)]
async fn source_that_forbids_quotas_is_unlimited() {
    let source = FakeSource::with_quotas(&[]);
    source.respond_with(403);
    let fixture = Fixture::new(&[source.member()]);
    fixture
        .run(async {
            eventually("capacity", || fixture.target.node()["status"]["allocatable"]["cpu"] == "100k").await;
        })
        .await;
    assert_eq!(fixture.condition("CapacityKnown"), "True");
}

#[tokio::test(start_paused = true)]
async fn capacity_follows_the_members() {
    let (one, other) = (
        FakeSource::with_quotas(&[json!({ "cpu": "7" })]),
        FakeSource::with_quotas(&[json!({ "cpu": "7" }), json!({ "cpu": "5" })]),
    );
    let fixture = Fixture::new(&[one.member()]);
    let cpu = |wanted: &'static str| {
        let target = fixture.target.clone();
        move || target.node()["status"]["allocatable"]["cpu"] == wanted
    };
    fixture
        .run(async {
            eventually("one import", cpu("7")).await;
            fixture.members.send_replace(vec![other.member()]);
            eventually("another import", cpu("5")).await;
            fixture.members.send_replace(Vec::new());
            seconds(100).await;
            assert_eq!(fixture.target.node()["status"]["allocatable"]["cpu"], "5", "kept");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn failed_write_is_reported_once_and_repeated() {
    let fixture = Fixture::new(&[]);
    fixture.target.state().refused = Some((403, STATUS));
    fixture
        .run(async {
            seconds(600).await;
            assert_eq!(fixture.problems(), ["can't apply the status of Node c2: refused"]);
            let tries = fixture.target.count(STATUS);
            assert!((15..40).contains(&tries), "{tries} tries in ten minutes");
            assert!(fixture.target.count(LEASE) > 50, "the heartbeat goes on");
            fixture.target.state().refused = None;
            seconds(30).await;
            assert_eq!(fixture.condition("Ready"), "True");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn missing_right_to_watch_is_reported_and_the_node_is_maintained() {
    let fixture = Fixture::new(&[]);
    fixture.target.state().refused = Some((403, "GET /api/v1/nodes"));
    fixture
        .run(async {
            seconds(60).await;
            let [problem] = fixture.problems().try_into().unwrap();
            assert!(problem.starts_with("can't watch Node c2: "), "{problem}");
            assert_eq!(fixture.condition("Ready"), "True");
            fixture.target.delete_node();
            seconds(15).await;
            assert_eq!(fixture.condition("Ready"), "True");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn conflict_is_reported_only_if_it_goes_on() {
    let fixture = Fixture::new(&[]);
    fixture.target.state().refused = Some((409, STATUS));
    fixture
        .run(async {
            seconds(3).await;
            assert!(fixture.target.count(STATUS) > 1);
            assert_eq!(fixture.problems(), [""; 0]);
            seconds(60).await;
            assert_eq!(fixture.problems(), ["can't apply the status of Node c2: refused"]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn another_program_that_rewrites_the_status_cannot_cause_more_than_a_write_each_second() {
    let fixture = Fixture::new(&[]);
    fixture
        .run(async {
            seconds(5).await;
            let before = fixture.target.count(STATUS);
            for _ in 0..100 {
                let unknown = json!([{ "type": "Ready", "status": "Unknown" }]);
                fixture.target.change_node(&json!({ "status": { "conditions": unknown } }));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            seconds(2).await;
            assert_eq!(fixture.condition("Ready"), "True");
            let writes = fixture.target.count(STATUS) - before;
            assert!((5..=12).contains(&writes), "{writes} writes in ten seconds");
        })
        .await;
}

#[test]
fn older_version_of_the_same_node_is_recognized() {
    let node = |uid: &str, version: &str| -> Node {
        let value: Value = json!({ "metadata": { "name": "c2", "uid": uid, "resourceVersion": version } });
        serde_json::from_value(value).unwrap()
    };
    assert!(is_older(&node("a", "9"), &node("a", "10")));
    assert!(!is_older(&node("a", "10"), &node("a", "10")));
    assert!(!is_older(&node("b", "9"), &node("a", "10")), "another node");
    assert!(!is_older(&node("a", "opaque"), &node("a", "10")));
}
