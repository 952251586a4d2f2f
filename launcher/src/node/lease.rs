//! Renews the node's Lease, the heartbeat that the node lifecycle controller waits for.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use mcsa_credentials::contract::launch::FIELD_MANAGER;
use mcsa_runtime::deadline::with_deadline;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::reporter::Reporter;
use super::state::NodeState;
use super::write::NodeError;

const NAMESPACE: &str = "kube-node-lease";
/// A kubelet's interval, and its duration.
const INTERVAL: Duration = Duration::from_secs(10);
const DURATION_SECONDS: i32 = 40;
/// A failed renewal is soon repeated: the controller allows 40 to 50 seconds.
const RETRY: Duration = Duration::from_secs(2);

/// Renews the Lease as long as there is a node of ours, whose UID this is.
pub(super) async fn renew(
    client: Client,
    name: &str,
    mut uid: watch::Receiver<Option<String>>,
    reporter: Reporter<'_, impl Fn(&NodeError)>,
    state: &watch::Sender<NodeState>,
) -> Infallible {
    let leases = Api::<Lease>::namespaced(client, NAMESPACE);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    loop {
        let owner = uid.borrow_and_update().clone();
        let mut pause = INTERVAL;
        if let Some(uid) = owner {
            let lease = Patch::Apply(lease(name, uid, Timestamp::now()));
            let result = with_deadline(leases.patch(name, &params, &lease)).await;
            if result.is_err() {
                pause = RETRY;
            }
            NodeState::update(state, |state| state.is_renewed = result.is_ok());
            let failed = NodeError::request("renew", format!("Lease {NAMESPACE}/{name}"));
            reporter.report(&result.map_err(failed));
        }
        match timeout(pause, uid.changed()).await {
            // Nobody maintains the node any more.
            Ok(Err(_)) => std::future::pending().await,
            // Don't repeat a failing request at once.
            Ok(Ok(())) if pause == RETRY => sleep(RETRY).await,
            Ok(Ok(())) | Err(_) => {}
        }
    }
}

/// As a kubelet writes it. The owner reference deletes it with the node.
fn lease(name: &str, uid: String, now: Timestamp) -> Lease {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.into(),
        uid,
        ..Default::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(NAMESPACE.into()),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.into()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            renew_time: Some(MicroTime(now)),
            ..Default::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lease_is_that_of_a_kubelet() {
        let lease = lease("c2", "uid-1".into(), "2026-01-02T03:04:05.000006Z".parse().unwrap());
        assert_eq!(
            serde_json::to_value(lease).unwrap(),
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": "c2",
                    "namespace": "kube-node-lease",
                    "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "c2", "uid": "uid-1" }],
                },
                "spec": {
                    "holderIdentity": "c2",
                    "leaseDurationSeconds": 40,
                    "renewTime": "2026-01-02T03:04:05.000006Z",
                },
            })
        );
    }
}
