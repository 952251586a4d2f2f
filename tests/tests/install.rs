//! What is installed: the same by kubectl and by kubemcsa, and accepted by a real API server.

use std::path::Path;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcsa_client::contract::webhook::CONFIGURATION;
use mcsa_tests::{Cluster, kubemcsa, kubemcsa_ok};
use serde_json::json;

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_and_kubemcsa_install_the_same() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    // Without a cluster, let alone a kubeconfig.
    let yaml = kubemcsa_ok(Path::new("/nonexistent"), ["install", "-o", "yaml"])?;
    let file = cluster.dir().join("install.yaml");
    std::fs::write(&file, &yaml)?;
    let file = file.display().to_string();

    let manager = "--field-manager=kubemcsa";
    cluster.kubectl(["apply", "--server-side", manager, "-k", MANIFESTS]).await?;
    let again = cluster.kubectl(["apply", "--server-side", manager, "-f", &file]).await?;
    ensure!(again.lines().all(|line| line.ends_with("serverside-applied")), "{again}");
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{said}");
    let objects = yaml.lines().filter(|line| line.starts_with("kind: ")).count();
    let unchanged = said.lines().filter(|line| line.ends_with("unchanged")).count();
    ensure!(objects > 10 && unchanged == objects, "{unchanged} of {objects} objects are unchanged:\n{said}");

    // There is no node: whoever waits is told what for, and what is in the way.
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--timeout", "1s"])?;
    let said = String::from_utf8(output.stderr)?;
    let last = said.lines().last().context("nothing was said")?;
    ensure!(output.status.code() == Some(1) && last.contains("importer"), "{said}");

    // An edit is put right.
    cluster.kubectl(["delete", "clusterrole", "multicluster-service-account-importer"]).await?;
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.lines().filter(|line| line.ends_with("created")).count() == 1, "{said}");

    // The webhook has registered itself by a URL: that stays, and the rest is put right.
    let configurations = Api::<MutatingWebhookConfiguration>::all(cluster.client());
    let by_url = json!({
        "url": "https://127.0.0.1:9443/mutate-pods",
        "caBundle": BASE64_STANDARD.encode(cluster.ca_pem()),
    });
    let patch = json!([
        { "op": "replace", "path": "/webhooks/0/clientConfig", "value": by_url },
        { "op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 30 },
    ]);
    let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
    configurations.patch(CONFIGURATION, &PatchParams::default(), &patch).await?;
    for outcome in ["changed", "unchanged"] {
        let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{said}");
        let lines: Vec<_> = said.lines().filter(|line| line.contains(CONFIGURATION)).collect();
        ensure!(lines.iter().any(|line| line.contains("https://127.0.0.1:9443/mutate-pods")), "{said}");
        ensure!(lines.iter().any(|line| line.ends_with(&format!(" {outcome}"))), "{said}");
        let entry = configurations.get(CONFIGURATION).await?.webhooks.unwrap_or_default().remove(0);
        ensure!(json!(entry.client_config) == by_url && entry.timeout_seconds == Some(5), "{entry:?}");
    }
    Ok(())
}
