//! A source that is older than admission policies: the link works, and it is said what nothing holds.

use anyhow::ensure;
use mcsa_tests::Cluster;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said() -> anyhow::Result<()> {
    let source = Cluster::builder("c2")
        .api_server_arg("--runtime-config=admissionregistration.k8s.io/v1=false")
        .api_server_arg(
            "--disable-admission-plugins=ValidatingAdmissionPolicy,MutatingAdmissionPolicy,\
             ValidatingAdmissionWebhook,MutatingAdmissionWebhook",
        );
    let world = World::with(source).await?;
    world.accounts().await?;
    let said = |command: &[&str]| -> anyhow::Result<String> {
        let output = world.attempt(command)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
        Ok(stderr)
    };
    let bare = said(&["bootstrap"])?;
    ensure!(bare.matches("has no ValidatingAdmissionPolicy").count() == 1, "{bare}");
    ensure!(bare.contains("the link can request tokens of kube-system"), "{bare}");
    ensure!(bare.contains("all service accounts without exception, for any duration"), "{bare}");

    let rehearsed = said(&["bootstrap", "--allow", "team-a", "--dry-run"])?;
    ensure!(rehearsed.matches("has no ValidatingAdmissionPolicy").count() == 1, "{rehearsed}");
    let narrow = said(&["bootstrap", "--allow", "team-a"])?;
    ensure!(narrow.contains("the link can request tokens for more than 24 hours"), "{narrow}");
    ensure!(narrow.contains("in namespace team-a, for any duration"), "{narrow}");
    ensure!(said(&["allow", "team-b"])?.contains("in namespace team-b, for any duration"));
    said(&["rotate"])?;
    said(&["unlink"])?;
    ensure!(world.traces().await?.is_empty(), "left: {:?}", world.traces().await?);
    Ok(())
}
