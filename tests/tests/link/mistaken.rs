//! Mistakes and tampering: a name that is not the link's, rights that are there in two forms, an address that
//! somebody else has written. Nothing is widened, forgotten or sent there.

use anyhow::{Context, ensure};
use k8s_openapi::ByteString;
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID, key};
use mcsa_tests::kubemcsa_ok;

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_known_by_one_name() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.accounts().await?;
    world.run(&["bootstrap", "--allow", "team-a"])?;
    let before = world.traces().await?;
    let rights = |command: &str| format!("{command} --target-name c1-new");
    for command in ["bootstrap", "rotate", "unlink"] {
        let said = world.refused(&rights(command).split(' ').collect::<Vec<_>>())?;
        ensure!(said.contains("c2") && said.contains("knows this target as c1, not as c1-new"), "{said}");
        ensure!(said.contains("--target-name c1"), "{said}");
    }
    ensure!(world.traces().await? == before, "a wrong name left something, or took it");
    world.links().values("c2-token").await?;

    // A link that was forgotten on one side is told of, with what ends it.
    let local = ["unlink", "--local-only", "--target-context", "c1", "--source-name", "c2"];
    kubemcsa_ok(&world.kubeconfig, local)?;
    let output = world.attempt(&["bootstrap", "--target-name", "c1-new", "--allow", "team-b"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && said.contains("also knows c1-new as c1,"), "{said}");
    let mend = "kubemcsa unlink --source-only --target-name c1 --source-context c2";
    ensure!(said.contains(mend), "{said}");
    kubemcsa_ok(&world.kubeconfig, mend.split(' ').skip(1))?;
    let left = world.traces().await?;
    ensure!(left.contains("serviceaccount/c1-new") && !left.contains("serviceaccount/c1"), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_in_two_forms_are_not_guessed_at() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.accounts().await?;
    world.run(&["bootstrap"])?;
    // Narrowed by GitOps: what has to go is said, and until it has, so is that nobody can tell.
    let output = world.attempt(&["bootstrap", "--allow", "team-a", "-o", "yaml", "--side", "source"])?;
    let said = String::from_utf8(output.stderr)?;
    let everything = "cluster role binding multicluster-service-account-link-c1";
    ensure!(said.contains(&format!("delete {everything}")), "{said}");
    let file = world.source.dir().join("narrow.yaml");
    std::fs::write(&file, output.stdout)?;
    let file = file.display().to_string();
    world.source.kubectl(["apply", "--server-side", "--field-manager", "gitops", "-f", &file]).await?;
    let said = world.refused(&["bootstrap"])?;
    ensure!(said.contains("choose one") && said.contains("--allow NAMESPACE"), "{said}");
    world.run(&["bootstrap", "--allow", "team-a"])?;
    let name = "clusterrolebinding.rbac.authorization.k8s.io/multicluster-service-account-link-c1";
    ensure!(!world.traces().await?.contains(name), "the link is still bound to everything");
    world.run(&["bootstrap"])?;
    ensure!(!world.traces().await?.contains(name), "the link was widened");

    // The name is another target's by now: its identity is not printed with our UID either.
    let annotation = format!("{TARGET_UID}=somebody-else");
    let annotate = ["-n", SYSTEM_NAMESPACE, "annotate", "--overwrite", "serviceaccount", "c1", &annotation];
    world.source.kubectl(annotate).await?;
    let said = world.refused(&["bootstrap", "-o", "yaml"])?;
    ensure!(said.contains("somebody-else"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_goes_where_somebody_else_has_pointed() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.run(&["bootstrap"])?;
    let before = world.traces().await?;
    let mut secret = world.links().secrets.get("c2-token").await?;
    let kubeconfig = secret.data.as_mut().and_then(|data| data.get_mut(key::KUBECONFIG)).context("none")?;
    let text = String::from_utf8(kubeconfig.0.clone())?;
    let elsewhere = "https://127.0.0.1:9";
    *kubeconfig = ByteString(text.replace(&world.source.server(), elsewhere).into_bytes());
    world.links().secrets.replace("c2-token", &Default::default(), &secret).await?;
    let said = world.refused(&["rotate"])?;
    ensure!(said.contains(elsewhere) && said.contains("no token is sent to it"), "{said}");
    ensure!(world.traces().await? == before, "it was refused too late");
    // Whoever says where the source is, mends it.
    world.run(&["bootstrap"])?;
    world.run(&["rotate"]).map(drop)
}
