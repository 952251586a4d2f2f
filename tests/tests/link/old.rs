//! A source without admission policies: the link works, and commands warn of what nothing enforces.

use anyhow::ensure;
use mcsa_tests::Cluster;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn commands_warn_of_a_source_without_admission_policies() -> anyhow::Result<()> {
    let source = Cluster::builder("c2")
        .api_server_arg("--runtime-config=admissionregistration.k8s.io/v1=false")
        .api_server_arg(
            "--disable-admission-plugins=ValidatingAdmissionPolicy,MutatingAdmissionPolicy,\
             ValidatingAdmissionWebhook,MutatingAdmissionWebhook",
        );
    let world = World::start(source).await?;
    world.accounts().await?;
    let said = |command: &[&str]| -> anyhow::Result<String> {
        let output = world.attempt(command)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
        Ok(stderr)
    };
    let bare = said(&["bootstrap"])?;
    ensure!(bare.matches("older than ValidatingAdmissionPolicy").count() == 1, "{bare}");
    ensure!(bare.contains("nothing keeps the link from tokens of kube-system"), "{bare}");
    ensure!(bare.contains("all service accounts without exception, for any time"), "{bare}");

    let rehearsed = said(&["bootstrap", "--allow", "team-a", "--dry-run"])?;
    ensure!(rehearsed.matches("older than ValidatingAdmissionPolicy").count() == 1, "{rehearsed}");
    let narrow = said(&["bootstrap", "--allow", "team-a"])?;
    ensure!(narrow.contains("nothing keeps the link from tokens of more than 24 hours"), "{narrow}");
    ensure!(narrow.contains("in namespace team-a, for any time"), "{narrow}");
    ensure!(said(&["allow", "team-b"])?.contains("in namespace team-b, for any time"));
    said(&["rotate"])?;
    said(&["unlink"])?;
    ensure!(world.traces().await?.is_empty(), "left: {:?}", world.traces().await?);
    Ok(())
}
