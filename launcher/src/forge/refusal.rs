//! Which pods are not run in another cluster.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mcsa_client::names::label_value;
use mcsa_credentials::contract::launch::{CLUSTER_NAME, ELECT, NODE_TAINT};

/// Why a pod that was bound to a virtual node is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For the pod's status and its events.
    pub(crate) reason: &'static str,
    /// Says what to do.
    pub(crate) message: &'static str,
}

/// Pods of a DaemonSet that tolerates all taints are bound to virtual nodes, too. They serve a node, such as log
/// collectors, so they run in another cluster only if the user asked for it.
const DAEMON_SET: Refusal = Refusal {
    reason: "DaemonSetNotSupported",
    message: "a pod of a DaemonSet serves the node that it runs on, but this node is another cluster. To keep the \
              DaemonSet off, add the node affinity `type NotIn [virtual-kubelet]` to its pod template. To run one pod \
              in each cluster, add the annotation multicluster.admiralty.io/elect",
};

/// A pod that was bound by hand, or that tolerates every taint, did not ask for another cluster. An admission policy
/// refuses the launcher writes to it (`manifests/policy.yaml`).
const NOT_TOLERATED: Refusal = Refusal {
    reason: "NotTolerated",
    message: "the pod does not tolerate the taint multicluster.admiralty.io/virtual-node of its node by name, so it is not \
              run in another cluster. Create it again with the annotation multicluster.admiralty.io/elect or \
              multicluster.admiralty.io/clustername; if it stays, delete this one with `kubectl delete --force`",
};

/// Whether the pod tolerates the taint of its virtual node by name.
pub(crate) fn tolerates_node(home: &Pod) -> bool {
    let Some(spec) = &home.spec else { return false };
    let node = label_value(spec.node_name.as_deref().unwrap_or_default());
    spec.tolerations.iter().flatten().any(|toleration| {
        let is_any = toleration.operator.as_deref() == Some("Exists");
        toleration.key.as_deref() == Some(NODE_TAINT)
            && (is_any || toleration.value.as_deref() == Some(&*node))
    })
}

/// Why this pod is not run in another cluster although its namespace has a launch import, if it is not.
pub(crate) fn untolerated(home: &Pod) -> Option<Refusal> {
    (!tolerates_node(home)).then_some(NOT_TOLERATED)
}

/// Why this pod is not run in another cluster, if it is not.
pub(crate) fn refusal(home: &Pod) -> Option<Refusal> {
    let is_daemon = home
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
    let is_asked_for = [ELECT, CLUSTER_NAME].iter().any(|key| home.annotations().contains_key(*key));
    (is_daemon && !is_asked_for).then_some(DAEMON_SET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::daemon(json!({ "kind": "DaemonSet", "controller": true }), json!({}), true)]
    #[case::elected(json!({ "kind": "DaemonSet", "controller": true }), json!({ ELECT: "" }), false)]
    #[case::sent(json!({ "kind": "DaemonSet", "controller": true }), json!({ CLUSTER_NAME: "c2" }), false)]
    #[case::other_owner(json!({ "kind": "ReplicaSet", "controller": true }), json!({}), false)]
    #[case::no_controller(json!({ "kind": "DaemonSet" }), json!({}), false)]
    fn daemons_run_elsewhere_only_on_request(
        #[case] mut owner: Value,
        #[case] annotations: Value,
        #[case] is_refused: bool,
    ) {
        for (field, value) in [("apiVersion", "apps/v1"), ("name", "d"), ("uid", "u")] {
            owner[field] = json!(value);
        }
        let pod = json!({ "metadata": { "annotations": annotations, "ownerReferences": [owner] } });
        let refusal = refusal(&serde_json::from_value(pod).unwrap());
        assert_eq!(refusal.is_some(), is_refused);
        assert!(refusal.is_none_or(|refusal| refusal.message.contains(ELECT)));
    }

    #[rstest]
    #[case::by_name(json!({ "key": NODE_TAINT, "operator": "Equal", "value": "c2", "effect": "NoSchedule" }), true)]
    #[case::default_operator(json!({ "key": NODE_TAINT, "value": "c2" }), true)]
    #[case::any_cluster(json!({ "key": NODE_TAINT, "operator": "Exists" }), true)]
    #[case::other_cluster(json!({ "key": NODE_TAINT, "operator": "Equal", "value": "c3" }), false)]
    #[case::everything(json!({ "operator": "Exists" }), false)]
    fn a_pod_must_tolerate_its_node_by_name(#[case] toleration: Value, #[case] is_tolerated: bool) {
        let pod = json!({ "spec": { "nodeName": "c2", "containers": [], "tolerations": [toleration] } });
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        // Pruning keeps what this needs.
        crate::prune::home(&mut pod);
        assert_eq!(untolerated(&pod).is_none(), is_tolerated);
    }
}
