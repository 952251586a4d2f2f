//! Mistakes and tampering: a wrong target name, ambiguous grants, an address that another user wrote. No grant is
//! widened, no object is left behind, and no token is sent there.

use anyhow::{Context, ensure};
use k8s_openapi::ByteString;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID, key};
use mcsa_tests::kubemcsa_ok;

use super::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn target_has_one_name_in_a_source() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    fixture.run(&["bootstrap", "--allow", "team-a"])?;
    let before = fixture.traces().await?;
    let rights = |command: &str| format!("{command} --target-name c1-new");
    for command in ["bootstrap", "rotate", "unlink"] {
        let stderr = fixture.refused(&rights(command).split(' ').collect::<Vec<_>>())?;
        ensure!(
            stderr.contains("c2") && stderr.contains("knows this target as c1, not as c1-new"),
            "{stderr}"
        );
        ensure!(stderr.contains("--target-name c1"), "{stderr}");
    }
    ensure!(fixture.traces().await? == before, "a wrong name left something, or took it");
    fixture.links().values("c2-token").await?;

    // The source has one name, too.
    let stderr = fixture.refused(&["bootstrap", "--source-name", "other"])?;
    ensure!(stderr.contains("c2 links the same cluster as other"), "{stderr}");
    ensure!(
        stderr.contains("bootstrap --target-context c1 --source-context c2 --source-name c2"),
        "{stderr}"
    );
    ensure!(stderr.contains("unlink --target-context c1 --source-context c2 --source-name c2"), "{stderr}");
    // Such a link exists, as older versions created it: no command breaks either link.
    let link = fixture.links().api.get("c2").await?;
    let mut second = ServiceAccountImport::new("other", link.spec);
    second.spec.cluster_name = "other".into();
    second.metadata.labels = link.metadata.labels;
    second.metadata.annotations = link.metadata.annotations;
    fixture.links().create(&second).await?;
    for name in ["c2", "other"] {
        let stderr = fixture.refused(&["rotate", "--source-name", name])?;
        ensure!(stderr.contains("unlink one of them first"), "{stderr}");
    }
    let output = fixture.attempt(&["unlink", "--source-name", "other"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && stderr.contains("kept the service account"), "{stderr}");
    ensure!(fixture.links().api.get_opt("other").await?.is_none(), "the second link is there");
    ensure!(fixture.traces().await? == before, "unlink of one link has broken the other");

    // Bootstrap warns of a link that was deleted on one side only, with the command that deletes the rest.
    let local = ["unlink", "--local-only", "--target-context", "c1", "--source-name", "c2"];
    kubemcsa_ok(&fixture.kubeconfig, local)?;
    let output = fixture.attempt(&["bootstrap", "--target-name", "c1-new", "--allow", "team-b"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && stderr.contains("also knows c1-new as c1,"), "{stderr}");
    let command = "kubemcsa unlink --source-only --target-name c1 --source-context c2";
    ensure!(stderr.contains(command), "{stderr}");
    kubemcsa_ok(&fixture.kubeconfig, command.split(' ').skip(1))?;
    let left = fixture.traces().await?;
    ensure!(left.contains("serviceaccount/c1-new") && !left.contains("serviceaccount/c1"), "{left:?}");
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_grants_are_refused() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    fixture.run(&["bootstrap"])?;
    // GitOps narrows the grants: bootstrap prints what to delete, and refuses to guess until that is deleted.
    let output = fixture.attempt(&["bootstrap", "--allow", "team-a", "-o", "yaml", "--side", "source"])?;
    let stderr = String::from_utf8(output.stderr)?;
    let everything = "clusterrolebinding.rbac.authorization.k8s.io/multicluster-service-account-link-c1";
    ensure!(stderr.contains(&format!("delete {everything}")), "{stderr}");
    let file = fixture.source.dir().join("narrow.yaml");
    std::fs::write(&file, output.stdout)?;
    let file = file.display().to_string();
    fixture.source.kubectl(["apply", "--server-side", "--field-manager", "gitops", "-f", &file]).await?;
    let before = fixture.traces().await?;
    for command in [&["bootstrap"][..], &["allow", "team-b"]] {
        let stderr = fixture.refused(command)?;
        ensure!(stderr.contains("choose one") && stderr.contains("--allow NAMESPACE"), "{stderr}");
        ensure!(fixture.traces().await? == before, "{command:?} changed something");
    }
    fixture.run(&["bootstrap", "--allow", "team-a"])?;
    ensure!(!fixture.traces().await?.contains(everything), "the link is still bound to everything");
    fixture.run(&["bootstrap"])?;
    ensure!(!fixture.traces().await?.contains(everything), "the link was widened");

    // The name now belongs to another target: bootstrap does not print manifests that would take it over.
    let annotation = format!("{TARGET_UID}=somebody-else");
    let annotate = ["-n", SYSTEM_NAMESPACE, "annotate", "--overwrite", "serviceaccount", "c1", &annotation];
    fixture.source.kubectl(annotate).await?;
    let stderr = fixture.refused(&["bootstrap", "-o", "yaml"])?;
    ensure!(stderr.contains("somebody-else"), "{stderr}");
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_sent_to_an_address_that_another_user_wrote() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.run(&["bootstrap"])?;
    let before = fixture.traces().await?;
    let mut secret = fixture.links().secrets.get("c2-token").await?;
    let kubeconfig = secret.data.as_mut().and_then(|data| data.get_mut(key::KUBECONFIG)).context("none")?;
    let text = String::from_utf8(kubeconfig.0.clone())?;
    let elsewhere = "https://127.0.0.1:9";
    *kubeconfig = ByteString(text.replace(&fixture.source.server(), elsewhere).into_bytes());
    fixture.links().secrets.replace("c2-token", &Default::default(), &secret).await?;
    let stderr = fixture.refused(&["rotate"])?;
    ensure!(stderr.contains(elsewhere) && stderr.contains("no token is sent to it"), "{stderr}");
    ensure!(fixture.traces().await? == before, "it was refused too late");
    // Bootstrap, with the right address, repairs the link.
    fixture.run(&["bootstrap"])?;
    fixture.run(&["rotate"])?;
    fixture.release().await
}
