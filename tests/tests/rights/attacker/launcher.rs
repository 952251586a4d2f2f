//! An attacker with a token of the launcher.

use anyhow::ensure;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::{
    FIELD_MANAGER, LAUNCHER, NODE_LABEL, NODE_TAINT, REMOTE_POD, REMOTE_UID,
};
use mcsa_tests::{Cluster, eventually, wait_for_default_service_account};
use serde_json::{Value, json};

use super::{ensure_refused, installed, merged};

const MANAGED_BY: &str = "multicluster.admiralty.io/managed-by";

// The policies' messages.
const NOT_ITS_NODE: &str = "the launcher may only change and delete Nodes that it has created";
const NOT_VIRTUAL: &str = "the launcher may only write virtual nodes";
const BY_STATUS: &str = "the launcher may not change labels and annotations of a Node by its status";
const NOT_ITS_LEASE: &str = "the launcher may only renew Leases that it has created";
const NOT_ASKED: &str = "the launcher may only write the status of pods that tolerate the taint";
const NOT_TERMINATING: &str = "the launcher may only delete pods that are terminating";
const LABELS: &str = "the launcher may not change labels and finalizers of a pod";
const ANNOTATIONS: &str = "the launcher may only change the annotations";

/// The virtual node c2, as the launcher creates it.
fn node() -> Value {
    json!({
        "metadata": {
            "name": "c2", "labels": { NODE_LABEL: "c2" }, "annotations": { MANAGED_BY: FIELD_MANAGER },
        },
        "spec": { "taints": [{ "key": NODE_TAINT, "value": "c2", "effect": "NoSchedule" }] },
    })
}

fn merge(patch: &Value) -> Patch<&Value> {
    Patch::Merge(patch)
}

/// A cluster with the Node `real`, and a client with a token of the launcher. Returns when the policies are in effect.
async fn attacked(name: &str) -> anyhow::Result<(Cluster, Client)> {
    let cluster = installed(name, &[], &[]).await?;
    let real = serde_json::from_value(json!({ "metadata": { "name": "real" } }))?;
    Api::<Node>::all(cluster.client()).create(&PostParams::default(), &real).await?;
    let attacker = cluster.client_of(SYSTEM_NAMESPACE, LAUNCHER).await?;
    let nodes = Api::<Node>::all(attacker.clone());
    let dry_run = PatchParams { dry_run: true, ..Default::default() };
    eventually("the policy is in effect", async || {
        ensure_refused(nodes.patch("real", &dry_run, &merge(&json!({}))).await, NOT_ITS_NODE)
    })
    .await;
    Ok((cluster, attacker))
}

#[tokio::test(flavor = "multi_thread")]
async fn launcher_can_write_only_what_is_its_own() -> anyhow::Result<()> {
    let (cluster, attacker) = attacked("c7").await?;
    launcher_can_write_only_pods_that_asked_for_their_virtual_node(&cluster, attacker.clone()).await?;
    launcher_can_renew_only_its_own_leases(&cluster, attacker.clone()).await?;
    launcher_can_write_only_virtual_nodes(&cluster, attacker).await
}

async fn launcher_can_write_only_virtual_nodes(cluster: &Cluster, attacker: Client) -> anyhow::Result<()> {
    let nodes = Api::<Node>::all(attacker);
    let (post, patch) = (PostParams::default(), PatchParams::default());
    for missing in [
        json!({ "metadata": { "labels": null } }),
        json!({ "metadata": { "labels": { NODE_LABEL: "c3" } } }),
        json!({ "metadata": { "annotations": null } }),
        json!({ "spec": null }),
    ] {
        let incomplete = serde_json::from_value(merged(&node(), missing))?;
        ensure_refused(nodes.create(&post, &incomplete).await, NOT_VIRTUAL)?;
    }
    nodes.create(&post, &serde_json::from_value(node())?).await?;
    let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    nodes.patch("c2", &patch, &merge(&json!({ "spec": { "unschedulable": true } }))).await?;
    nodes.patch_status("c2", &patch, &merge(&status)).await?;
    for removal in [
        json!({ "metadata": { "labels": { NODE_LABEL: null } } }),
        json!({ "metadata": { "annotations": { MANAGED_BY: null } } }),
        json!({ "spec": { "taints": null } }),
    ] {
        ensure_refused(nodes.patch("c2", &patch, &merge(&removal)).await, NOT_VIRTUAL)?;
    }
    let annotations = json!({ "metadata": { "annotations": { MANAGED_BY: FIELD_MANAGER } } });
    let by_status = json!({ "metadata": { "labels": { "a": "b" } } });
    ensure_refused(nodes.patch_status("c2", &patch, &merge(&by_status)).await, BY_STATUS)?;
    for takeover in [&annotations, &merged(&node(), json!({ "metadata": { "name": null } })), &status] {
        ensure_refused(nodes.patch("real", &patch, &merge(takeover)).await, NOT_ITS_NODE)?;
        ensure_refused(nodes.patch_status("real", &patch, &merge(takeover)).await, NOT_ITS_NODE)?;
    }
    ensure_refused(nodes.delete("real", &DeleteParams::default()).await, NOT_ITS_NODE)?;

    // An administrator removes label and taint by mistake; the launcher restores them.
    let mistake = json!({ "metadata": { "labels": { NODE_LABEL: null } }, "spec": { "taints": null } });
    Api::<Node>::all(cluster.client()).patch("c2", &patch, &merge(&mistake)).await?;
    nodes.patch_status("c2", &patch, &merge(&status)).await?;
    nodes.patch("c2", &patch, &merge(&node())).await?;
    nodes.delete("c2", &DeleteParams::default()).await?;
    Ok(())
}

async fn launcher_can_renew_only_its_own_leases(cluster: &Cluster, attacker: Client) -> anyhow::Result<()> {
    let lease = |name: &str, seconds: i32| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": name, "namespace": "kube-node-lease" },
            "spec": { "holderIdentity": name, "leaseDurationSeconds": seconds },
        })
    };
    let of_kubelets = Api::<Lease>::namespaced(cluster.client(), "kube-node-lease");
    of_kubelets.create(&PostParams::default(), &serde_json::from_value(lease("real", 40))?).await?;
    let leases = Api::<Lease>::namespaced(attacker, "kube-node-lease");
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    for seconds in [40, 41] {
        leases.patch("c2", &apply, &Patch::Apply(lease("c2", seconds))).await?;
    }
    ensure_refused(leases.patch("real", &apply, &Patch::Apply(lease("real", 41))).await, NOT_ITS_LEASE)
}

/// Creates a pod that is bound to a node.
async fn bind(pods: &Api<Pod>, name: &str, node: &str, toleration: &Value) -> anyhow::Result<()> {
    let tolerations: Vec<_> = [toleration].into_iter().filter(|one| !one.is_null()).collect();
    let pod = json!({
        "metadata": {
            "name": name, "labels": { "a": "b" }, "annotations": { "a": "b" }, "finalizers": ["example.com/a"],
        },
        "spec": {
            "nodeName": node, "tolerations": tolerations, "containers": [{ "name": "main", "image": "i" }],
            "automountServiceAccountToken": false,
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    Ok(())
}

async fn launcher_can_write_only_pods_that_asked_for_their_virtual_node(
    cluster: &Cluster,
    attacker: Client,
) -> anyhow::Result<()> {
    let cluster_name =
        json!({ "key": NODE_TAINT, "operator": "Equal", "value": "c2", "effect": "NoSchedule" });
    let any_cluster = json!({ "key": NODE_TAINT, "operator": "Exists" });
    wait_for_default_service_account(cluster, "default").await;
    let pods = Api::<Pod>::namespaced(cluster.client(), "default");
    for (name, node, toleration) in [
        ("elected", "c2", &cluster_name),
        ("any", "c2", &any_cluster),
        ("at-home", "real", &cluster_name),
        ("daemon", "real", &json!({ "operator": "Exists" })),
        ("plain", "real", &json!(null)),
        ("bound", "c2", &json!(null)),
    ] {
        bind(&pods, name, node, toleration).await?;
    }
    let attacked = Api::<Pod>::namespaced(attacker, "default");
    let patch = PatchParams::default();
    let status = json!({
        "metadata": { "annotations": { REMOTE_POD: "n/p", REMOTE_UID: "1" } }, "status": { "phase": "Running" },
    });
    for name in ["elected", "any"] {
        attacked.patch_status(name, &patch, &merge(&status)).await?;
    }
    for name in ["at-home", "daemon", "plain", "bound"] {
        ensure_refused(attacked.patch_status(name, &patch, &merge(&status)).await, NOT_ASKED)?;
    }
    for (change, message) in [
        (json!({ "labels": { "c": "d" } }), LABELS),
        (json!({ "labels": null }), LABELS),
        (json!({ "finalizers": null }), LABELS),
        (json!({ "annotations": { "a": "c" } }), ANNOTATIONS),
        (json!({ "annotations": { "a": null } }), ANNOTATIONS),
        (json!({ "annotations": { "c": "d" } }), ANNOTATIONS),
    ] {
        let change = json!({ "metadata": change });
        ensure_refused(attacked.patch_status("elected", &patch, &merge(&change)).await, message)?;
    }
    // The API server ignores these.
    let ignored = json!({
        "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1" }] },
        "spec": { "nodeName": "real" },
    });
    let after = attacked.patch_status("elected", &patch, &merge(&ignored)).await?;
    ensure!(after.metadata.owner_references.is_none(), "{after:?}");
    ensure!(after.spec.and_then(|spec| spec.node_name).as_deref() == Some("c2"), "the pod has moved");

    let now = DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
    for name in ["elected", "any", "daemon", "plain"] {
        ensure_refused(attacked.delete(name, &now).await, NOT_TERMINATING)?;
    }
    for name in ["elected", "any", "daemon", "at-home", "plain"] {
        pods.delete(name, &DeleteParams::default()).await?;
    }
    for name in ["elected", "any", "daemon"] {
        attacked.delete(name, &now).await?;
    }
    for name in ["at-home", "plain"] {
        ensure_refused(attacked.delete(name, &now).await, NOT_TERMINATING)?;
    }
    Ok(())
}
