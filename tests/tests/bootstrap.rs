//! `kubemcsa bootstrap`: repeated, interrupted, refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use mcsa_client::contract::{SYSTEM_NAMESPACE, key};
use mcsa_credentials::link::Link;
use mcsa_tests::{
    Cluster, Fault, Imports, Proxy, eventually, kubemcsa, kubemcsa_ok, program, write_merged_kubeconfig,
};
use tempfile::TempDir;

/// The kinds of objects that bootstrap creates, on either side.
const KINDS: &str = "namespaces,serviceaccounts,secrets,clusterroles,clusterrolebindings,roles,rolebindings,\
    validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions";

/// The resource versions of all objects of these kinds, and of imports.
async fn versions(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, String>> {
    let columns =
        "custom-columns=KIND:.kind,NS:.metadata.namespace,NAME:.metadata.name,V:.metadata.resourceVersion";
    let mut rows = cluster.kubectl(["get", KINDS, "--all-namespaces", "--no-headers", "-o", columns]).await?;
    // Only targets have this kind.
    let imports = ["get", "serviceaccountimports", "--all-namespaces", "--no-headers", "-o", columns];
    rows += &cluster.kubectl(imports).await.unwrap_or_default();
    let rows = rows.lines().filter_map(|line| line.trim().rsplit_once(char::is_whitespace));
    Ok(rows.map(|(object, version)| (object.trim().to_owned(), version.to_owned())).collect())
}

/// Waits until the controller manager has written the policy's status.
async fn policy_is_checked(source: &Cluster) -> anyhow::Result<()> {
    let checked = "--for=jsonpath={.status.observedGeneration}";
    let policy = "validatingadmissionpolicy/multicluster-service-account-link";
    source.kubectl(["wait", checked, policy, "--timeout=30s"]).await.map(drop)
}

/// A kubeconfig of several clusters, in a folder of its own.
fn merged(clusters: &[&Cluster]) -> anyhow::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    write_merged_kubeconfig(clusters, &path)?;
    Ok((folder, path))
}

/// Checks the link with the calls that the importer makes, and one that a link must not make.
async fn link_works(target: &Cluster, source: &Cluster) -> anyhow::Result<()> {
    let secrets = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    let link = Link::read(&secrets.get(&format!("{}-token", source.name())).await?)?;
    ensure!(link.cluster_name == source.name() && link.cluster_uid.is_some(), "{link:?}");
    let client = Client::try_from(link.config)?;
    let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::all(client.clone());
    accounts.list(&Default::default()).await?;
    let secrets = Api::<Secret>::all(client).list(&Default::default()).await;
    ensure!(secrets.is_err(), "the link can read Secrets of the source");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_and_install_are_idempotent() -> anyhow::Result<()> {
    let (c1, c2) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let (_folder, kubeconfig) = merged(&[&c1, &c2])?;
    let bootstrap = ["bootstrap", "--target-context", "c1", "--source-context", "c2"];

    let untouched = (versions(&c1).await?, versions(&c2).await?);
    let yaml = kubemcsa_ok(&kubeconfig, bootstrap.into_iter().chain(["-o", "yaml"]))?;
    ensure!(
        yaml.contains("kind: ServiceAccountImport") && yaml.contains("kind: ClusterRoleBinding"),
        "{yaml}"
    );
    kubemcsa_ok(&kubeconfig, bootstrap.into_iter().chain(["--dry-run"]))?;
    ensure!((versions(&c1).await?, versions(&c2).await?) == untouched, "a dry run changed something");

    kubemcsa_ok(&kubeconfig, bootstrap)?;
    link_works(&c1, &c2).await?;
    policy_is_checked(&c2).await?;
    let once = (versions(&c1).await?, versions(&c2).await?);
    kubemcsa_ok(&kubeconfig, bootstrap)?;
    let twice = (versions(&c1).await?, versions(&c2).await?);
    ensure!(once == twice, "changed: {:#?}\nto {:#?}", once, twice);

    // So is install, in a target that is linked already.
    kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
    let once = versions(&c1).await?;
    kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
    ensure!(versions(&c1).await? == once, "another install changed something");

    // In the opposite direction, c2 becomes a target, too. Output that can't be written changes nothing.
    for stderr in broken_outputs()? {
        let mut command = Command::new(program("kubemcsa")?);
        command.args(["bootstrap", "--target-context", "c2", "--source-context", "c1"]);
        let status = command.env("KUBECONFIG", &kubeconfig).stderr(stderr).status()?;
        ensure!(status.success(), "it ended with {status}");
        link_works(&c2, &c1).await?;
    }
    Ok(())
}

/// A full disk, if this machine has a device for it, and a pipe without a reader.
fn broken_outputs() -> anyhow::Result<impl Iterator<Item = Stdio>> {
    let full = File::options().write(true).open("/dev/full").map(Stdio::from);
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    Ok(full.into_iter().chain([Stdio::from(writer)]))
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_link_is_renewed_at_once() -> anyhow::Result<()> {
    let (c1, c2) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let (_folder, kubeconfig) = merged(&[&c1, &c2])?;
    let bootstrap = ["bootstrap", "--target-context", "c1", "--source-context", "c2"];
    let links = Imports::of(c1.client(), SYSTEM_NAMESPACE);
    kubemcsa_ok(&kubeconfig, bootstrap)?;
    // The API server caches for 10 s that the token is valid.
    link_works(&c1, &c2).await?;
    let revoked = links.values("c2-token").await?;
    c2.kubectl(["-n", SYSTEM_NAMESPACE, "delete", "secret", "c1"]).await?;
    kubemcsa_ok(&kubeconfig, bootstrap)?;
    ensure!(links.values("c2-token").await?[key::TOKEN] != revoked[key::TOKEN], "the revoked token was kept");
    link_works(&c1, &c2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_bootstrap_is_finished_by_another_run() -> anyhow::Result<()> {
    // The source grants an hour of the day that is requested.
    let source = Cluster::builder("c2").api_server_arg("--service-account-max-token-expiration=1h");
    let (c1, c2) = tokio::try_join!(Cluster::start("c1"), source.start())?;
    // With two kubeconfig files.
    let (target, source) = (c1.kubeconfig().display().to_string(), c2.kubeconfig().display().to_string());
    let bootstrap = ["bootstrap", "--target-kubeconfig", &target, "--source-kubeconfig", &source];
    let mut interrupted = 0;
    while kill_after(interrupted, &bootstrap)? {
        interrupted += 1;
    }
    ensure!(interrupted > 5, "only {interrupted} lines to be interrupted after");
    kubemcsa_ok(Path::new("/nonexistent"), bootstrap)?;
    link_works(&c1, &c2).await?;
    policy_is_checked(&c2).await?;
    let once = (versions(&c1).await?, versions(&c2).await?);
    kubemcsa_ok(Path::new("/nonexistent"), bootstrap)?;
    ensure!((versions(&c1).await?, versions(&c2).await?) == once, "a further run changed something");
    Ok(())
}

/// Kills kubemcsa once it has printed `lines` lines. Returns whether it was killed before it was done.
fn kill_after(lines: usize, args: &[&str]) -> anyhow::Result<bool> {
    let mut command = Command::new(program("kubemcsa")?);
    let mut child = command.args(args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let printed = BufReader::new(stderr).lines().take(lines).count();
    child.kill()?;
    let status = child.wait()?;
    Ok(printed == lines && !status.success())
}

/// Between the token's request and the write of its Secret, nothing is printed. Therefore, this test cuts the connections.
#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_that_lost_a_cluster_with_its_token_is_finished_by_another_run() -> anyhow::Result<()> {
    let source = Cluster::builder("c2").audit_log();
    let (c1, c2) = tokio::try_join!(Cluster::start("c1"), source.start())?;
    let to_c1 = Proxy::start(([127, 0, 0, 1], c1.port()).into()).await?;
    let to_c2 = Proxy::start(([127, 0, 0, 1], c2.port()).into()).await?;
    let (_folder, kubeconfig) = merged(&[&c1, &c2])?;
    let text = std::fs::read_to_string(&kubeconfig)?;
    std::fs::write(
        &kubeconfig,
        text.replace(&c1.server(), &to_c1.url()).replace(&c2.server(), &to_c2.url()),
    )?;
    let bootstrap = ["bootstrap", "--target-context", "c1", "--source-context", "c2"];
    let minted = || -> anyhow::Result<usize> {
        let events = c2.audit_events()?;
        // The link itself requests one, too, to verify that it is refused.
        let by_admin = events.iter().filter(|event| event.user.username == "admin");
        let objects = by_admin.filter_map(|event| event.object_ref.as_ref());
        Ok(objects.filter(|object| object.subresource == "token" && object.name == "c1").count())
    };

    // Once there is a token, the source is lost before the token is verified, or the target before it is written.
    for (lost, message) in [(&to_c2, "c2: "), (&to_c1, "c1: can't create secret ")] {
        // So slow that it can be cut in the middle.
        to_c2.set(Fault::Delay(Duration::from_millis(50)));
        let before = minted()?;
        let mut command = Command::new(program("kubemcsa")?);
        command.env("KUBECONFIG", &kubeconfig).args(bootstrap).stderr(Stdio::piped());
        let child = command.spawn()?;
        eventually("a token is requested", async || {
            ensure!(minted()? > before, "none yet");
            Ok(())
        })
        .await;
        lost.set(Fault::Refuse);
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8(output.stderr)?;
        let last = stderr.lines().last().unwrap_or_default();
        ensure!(output.status.code() == Some(1) && last.contains(message), "{stderr}");
        lost.set(Fault::Pass);
    }
    to_c2.set(Fault::Pass);
    kubemcsa_ok(&kubeconfig, bootstrap)?;
    link_works(&c1, &c2).await?;
    policy_is_checked(&c2).await?;
    let once = (versions(&c1).await?, versions(&c2).await?);
    kubemcsa_ok(&kubeconfig, bootstrap)?;
    ensure!((versions(&c1).await?, versions(&c2).await?) == once, "a further run changed something");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_one_line_and_change_nothing() -> anyhow::Result<()> {
    let (c1, c2) = &tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let (folder, kubeconfig) = merged(&[c1, c2])?;
    let before = (versions(c1).await?, versions(c2).await?);
    let refused = |kubeconfig: &Path, args: &[&str], words: &[&str]| {
        let args = std::iter::once("bootstrap").chain(args.iter().copied());
        let output = kubemcsa(kubeconfig, args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "exit code {:?}: {stderr}", output.status.code());
        ensure!(output.stdout.is_empty(), "it wrote to stdout");
        ensure!(stderr.trim().lines().count() == 1, "more than one line:\n{stderr}");
        for word in words {
            ensure!(stderr.contains(word), "{word:?} is not in: {stderr}");
        }
        Ok(())
    };
    let contexts =
        |target: &'static str, source: &'static str| ["--target-context", target, "--source-context", source];
    // A context that does not exist: the message lists those that do.
    refused(&kubeconfig, &contexts("c1", "c3"), &["c3", "c1", "c2"])?;
    // A cluster linked to itself: by one name, which is wrong usage, or by two.
    let itself = kubemcsa(&kubeconfig, ["bootstrap"].into_iter().chain(contexts("c1", "c1")))?;
    let stderr = String::from_utf8_lossy(&itself.stderr);
    ensure!(itself.status.code() == Some(2) && stderr.contains("--allow-self"), "{stderr}");
    let text = std::fs::read_to_string(&kubeconfig)?;
    let alias = folder.path().join("alias");
    std::fs::write(&alias, text.replace(": c1\n", ": alias\n"))?;
    let alias = alias.display().to_string();
    let twin = ["--target-context", "c1", "--source-kubeconfig", &alias, "--source-context", "alias"];
    refused(&kubeconfig, &twin, &["--allow-self"])?;

    // A source on loopback and a target on another host. This is refused without a call.
    let remote = folder.path().join("remote");
    std::fs::write(&remote, text.replace(&c1.server(), "https://192.0.2.1:6443"))?;
    refused(&remote, &contexts("c1", "c2"), &["c2", "127.0.0.1", "--source-server"])?;

    // A source that does not respond.
    let dead = folder.path().join("dead");
    std::fs::write(&dead, text.replace(&c2.server(), "https://127.0.0.1:1"))?;
    refused(&dead, &contexts("c1", "c2"), &["c2", "https://127.0.0.1:1"])?;

    // A caller without rights in the source, or in the target.
    for cluster in [c1, c2] {
        cluster.kubectl(["-n", "default", "create", "serviceaccount", "nobody"]).await?;
    }
    let nobody = c2.kubeconfig_of("default", "nobody").await?.display().to_string();
    let args = ["--target-context", "c1", "--source-kubeconfig", &nobody];
    refused(&kubeconfig, &args, &["c2: ", "cannot", "kube-system"])?;
    let nobody = c1.kubeconfig_of("default", "nobody").await?.display().to_string();
    let args = ["--target-kubeconfig", &nobody, "--source-context", "c2"];
    refused(&kubeconfig, &args, &["c1: ", "cannot", "kube-system"])?;

    let mut after = (versions(c1).await?, versions(c2).await?);
    for versions in [&mut after.0, &mut after.1] {
        versions.retain(|object, _| !object.ends_with("nobody"));
    }
    ensure!(before == after, "a refusal changed something");
    Ok(())
}
