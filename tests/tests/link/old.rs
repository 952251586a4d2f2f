//! A source without admission policies: the link works, and commands warn of what nothing enforces.

use anyhow::ensure;
use mcsa_tests::Cluster;

use super::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn commands_warn_of_a_source_without_admission_policies() -> anyhow::Result<()> {
    let source = Cluster::builder("c2")
        .api_server_arg("--runtime-config=admissionregistration.k8s.io/v1=false")
        .api_server_arg(
            "--disable-admission-plugins=ValidatingAdmissionPolicy,MutatingAdmissionPolicy,\
             ValidatingAdmissionWebhook,MutatingAdmissionWebhook",
        );
    let fixture = Fixture::start(source).await?;
    fixture.accounts().await?;
    let succeeds = |command: &[&str]| -> anyhow::Result<String> {
        let output = fixture.attempt(command)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
        Ok(stderr)
    };
    let bare = succeeds(&["bootstrap"])?;
    ensure!(bare.matches("has no ValidatingAdmissionPolicy").count() == 1, "{bare}");
    ensure!(bare.contains("the link can request tokens of kube-system"), "{bare}");
    ensure!(bare.contains("all service accounts without exception, for any duration"), "{bare}");

    let dry_run = succeeds(&["bootstrap", "--allow", "team-a", "--dry-run"])?;
    ensure!(dry_run.matches("has no ValidatingAdmissionPolicy").count() == 1, "{dry_run}");
    let narrow = succeeds(&["bootstrap", "--allow", "team-a"])?;
    ensure!(narrow.contains("the link can request tokens for more than 24h"), "{narrow}");
    ensure!(narrow.contains("in namespace team-a, for any duration"), "{narrow}");
    ensure!(succeeds(&["allow", "team-b"])?.contains("in namespace team-b, for any duration"));
    succeeds(&["rotate"])?;
    succeeds(&["unlink"])?;
    ensure!(fixture.traces().await?.is_empty(), "left: {:?}", fixture.traces().await?);
    Ok(())
}
