//! Problems of importer and webhook.

use anyhow::ensure;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::api::{Patch, PatchParams};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};
use mcsa_tests::{eventually, pod_lister_import};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn stopped_importer_is_a_problem_and_gets_no_request() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    eventually("there are no findings", async || fixture.check()?.no_findings()).await;
    let imports = fixture.namespace("stopped").await?;
    fixture.daemons.importer.terminate().await?;
    imports.create(&pod_lister_import("a", "c2", "stopped")).await?;
    let checked = fixture.check()?;
    let fix = checked.problem("ImporterNotRunning", "importer")?;
    ensure!(fix.contains("describe pods -l app.kubernetes.io/name=importer"), "{fix}");
    ensure!(!checked.stderr.contains("waiting for the importer"), "{}", checked.stderr);
    ensure!(checked.report["problems"] == 1, "one cause is one problem: {:#}", checked.report);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn expiring_and_untrusted_certificate_is_a_problem() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    eventually("there are no findings", async || fixture.check()?.no_findings()).await;
    fixture.daemons.webhook.kill();
    let mut params = CertificateParams::new(vec!["webhook".to_owned()])?;
    params.not_before = OffsetDateTime::now_utc() - Duration::days(84);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(6);
    let certificate = params.self_signed(&KeyPair::generate()?)?.pem();
    let secrets = fixture.links().secrets;
    let patch = json!({ "data": { "tls.crt": BASE64_STANDARD.encode(certificate) } });
    secrets.patch(webhook::CERTIFICATE, &PatchParams::default(), &Patch::Merge(patch)).await?;
    let checked = fixture.check()?;
    let fix = checked.problem("WebhookCertificateExpires", webhook::CERTIFICATE)?;
    ensure!(fix.ends_with(&format!("-n {SYSTEM_NAMESPACE} delete secret {}", webhook::CERTIFICATE)), "{fix}");
    checked.problem("WebhookNotTrusted", webhook::CONFIGURATION)?;
    fixture.target.kubectl(["label", "namespace", "default", "multicluster-service-account=enabled"]).await?;
    fixture.target.kubectl(["delete", "mutatingwebhookconfiguration", webhook::CONFIGURATION]).await?;
    fixture.check()?.problem("NotInstalled", webhook::CONFIGURATION)?;
    Ok(())
}
