//! Imports that no ImportPolicy permits: kubectl prints a warning.

use super::*;

/// A source that no other test names, because policies are cluster-scoped.
const SOURCE: &str = "policed";

const NAMESPACE: &str = "policed-imports";

#[tokio::test(flavor = "multi_thread")]
async fn import_that_no_policy_permits_gets_a_warning() -> anyhow::Result<()> {
    let Fixture { cluster, .. } = fixture().await;
    // Imports need policies without the label of pods, too.
    cluster.kubectl(["create", "namespace", NAMESPACE]).await?;
    cluster.kubectl(["label", "namespace", NAMESPACE, "team=policed"]).await?;
    let policy = |spec: Value| {
        let metadata = json!({ "name": SOURCE });
        json!({ "apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ImportPolicy", "metadata": metadata, "spec": spec })
    };
    let apply = async |object: Value| {
        let file = cluster.dir().join("policy.json");
        std::fs::write(&file, object.to_string())?;
        cluster.kubectl(["apply", "-f", &file.display().to_string()]).await
    };
    let file = cluster.dir().join("policed-import.json");
    let mut import = serde_json::to_value(pod_lister_import("i", SOURCE, "default"))?;
    import["metadata"]["namespace"] = NAMESPACE.into();
    std::fs::write(&file, import.to_string())?;
    // kubectl fails if there are warnings.
    let file = file.display().to_string();
    let create =
        async || cluster.kubectl(["create", "--dry-run=server", "--warnings-as-errors", "-f", &file]).await;

    create().await?;
    let accounts = json!([{ "namespace": "default" }]);
    apply(policy(json!({ "clusterName": SOURCE, "namespaces": ["other"], "serviceAccounts": accounts })))
        .await?;
    eventually("the import gets a warning", async || {
        let stderr = create().await.err().context("no warning")?.to_string();
        let command = "kubemcsa allow default/pod-lister --for policed-imports --source-name policed";
        ensure!(stderr.contains("Warning: no ImportPolicy permits namespace policed-imports"), "{stderr}");
        ensure!(stderr.contains(command), "{stderr}");
        Ok(())
    })
    .await;
    let selector = json!({ "matchLabels": { "team": "policed" } });
    apply(policy(
        json!({ "clusterName": SOURCE, "namespaceSelector": selector, "serviceAccounts": accounts }),
    ))
    .await?;
    eventually("the import is permitted by a label", create).await;
    cluster.kubectl(["delete", "importpolicies", SOURCE]).await.map(drop)
}
