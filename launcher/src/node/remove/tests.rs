use std::sync::Mutex;

use mcsa_credentials::contract::launch::NODE_CORDONED;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::node::Platform;
use crate::node::desired;
use crate::node::fake_target::FakeTarget;
use crate::node::health::Reachability;

const DELETE: &str = "DELETE /api/v1/nodes/c2";

fn node() -> VirtualNode {
    let endpoint = "10.0.0.7:10250".parse().unwrap();
    VirtualNode { name: "c2".into(), cluster_uid: "home-uid".into(), endpoint, platform: Platform::default() }
}

/// A target with a node of ours, to which these pods are bound.
fn target(pods: &[Value]) -> FakeTarget {
    let target = FakeTarget::default();
    target.create_node(serde_json::to_value(desired::new(&node(), &Reachability::Reachable)).unwrap());
    target.state().pods = pods.to_vec();
    target
}

fn pod(owner: &str) -> Value {
    let owners =
        json!([{ "apiVersion": "apps/v1", "kind": owner, "name": "a", "uid": "u", "controller": true }]);
    let metadata = json!({ "namespace": "team-a", "name": "pod-1", "ownerReferences": owners });
    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata })
}

/// Whether the removal ends within this time.
async fn ends_within(target: &FakeTarget, seconds: u64) -> bool {
    let problems = Mutex::new(Vec::new());
    let report = |error: &NodeError| problems.lock().unwrap().push(error.to_string());
    let state = watch::Sender::default();
    let removed = remove(target.client(), node(), report, &state);
    let ends = timeout(Duration::from_secs(seconds), removed).await.is_ok();
    assert_eq!(problems.into_inner().unwrap(), [""; 0]);
    ends
}

#[tokio::test(start_paused = true)]
async fn empty_node_is_deleted() {
    let target = target(&[]);
    assert!(ends_within(&target, 60).await);
    assert_eq!(target.node(), Value::Null);
    assert_eq!(target.count("POST /api/v1/nodes"), 0);
}

#[tokio::test(start_paused = true)]
async fn node_with_pods_is_cordoned_and_stays_alive() {
    let target = target(&[pod("ReplicaSet")]);
    assert!(!ends_within(&target, 300).await);
    let stored = target.node();
    assert_eq!(stored["spec"]["unschedulable"], true);
    assert_eq!(stored["metadata"]["annotations"][NODE_CORDONED], "true");
    assert_eq!(target.count(DELETE), 0);
    let leases = target.count("PATCH /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/c2");
    assert!(leases >= 30, "{leases} renewals in five minutes");
    target.state().pods.clear();
    assert!(ends_within(&target, 60).await);
    assert_eq!(target.node(), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn pods_of_daemon_sets_do_not_keep_the_node() {
    let target = target(&[pod("DaemonSet")]);
    assert!(ends_within(&target, 60).await);
    assert_eq!(target.count(DELETE), 1);
}

#[tokio::test(start_paused = true)]
async fn node_of_others_is_not_removed() {
    let target = FakeTarget::default();
    target.create_node(json!({ "metadata": { "labels": {} } }));
    let foreign = target.node();
    let (report, state) = (|_: &NodeError| (), watch::Sender::default());
    let changes = state.subscribe();
    let removed = remove(target.client(), node(), report, &state);
    assert!(timeout(Duration::from_secs(60), removed).await.is_ok());
    assert_eq!(target.node(), foreign);
    assert!(changes.has_changed().is_ok_and(|has_changed| !has_changed), "it was never ours");
}

#[tokio::test(start_paused = true)]
async fn node_that_is_gone_is_not_created_again() {
    let target = target(&[pod("ReplicaSet")]);
    assert!(!ends_within(&target, 60).await);
    target.delete_node();
    assert!(ends_within(&target, 60).await);
    assert_eq!(target.node(), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn returned_import_ends_the_cordon() {
    let target = target(&[pod("ReplicaSet")]);
    assert!(!ends_within(&target, 60).await);
    let no_members = watch::Sender::new(Vec::new());
    let state = watch::Sender::default();
    let maintained = maintain::maintain(target.client(), node(), no_members.subscribe(), |_| (), &state);
    assert!(timeout(Duration::from_secs(60), maintained).await.is_err());
    let stored = target.node();
    assert_eq!(stored["spec"]["unschedulable"], Value::Null);
    assert_eq!(stored["metadata"]["annotations"][NODE_CORDONED], Value::Null);
}
