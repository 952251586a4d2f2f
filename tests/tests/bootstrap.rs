//! `kubemcsa bootstrap`: once, twice, interrupted, and refused.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::link::Link;
use mcsa_tests::{Cluster, kubemcsa, kubemcsa_ok, merged_kubeconfig, pair, program};
use tempfile::TempDir;

/// The kinds of which bootstrap makes objects, on either side.
const KINDS: &str = "namespaces,serviceaccounts,secrets,clusterroles,clusterrolebindings,roles,rolebindings,\
    validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions";

/// The resource versions of all objects that bootstrap may have made.
async fn versions(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, String>> {
    let columns =
        "custom-columns=KIND:.kind,NS:.metadata.namespace,NAME:.metadata.name,V:.metadata.resourceVersion";
    let mut said = cluster.kubectl(["get", KINDS, "--all-namespaces", "--no-headers", "-o", columns]).await?;
    // The source has no such kind.
    let imports = ["get", "serviceaccountimports", "--all-namespaces", "--no-headers", "-o", columns];
    said += &cluster.kubectl(imports).await.unwrap_or_default();
    let rows = said.lines().filter_map(|line| line.trim().rsplit_once(char::is_whitespace));
    Ok(rows.map(|(object, version)| (object.trim().to_owned(), version.to_owned())).collect())
}

/// Waits until the controller manager has written its findings into the policy's status, once.
async fn settled(source: &Cluster) -> anyhow::Result<()> {
    let checked = "--for=jsonpath={.status.observedGeneration}";
    let policy = "validatingadmissionpolicy/multicluster-service-account-link";
    source.kubectl(["wait", checked, policy, "--timeout=30s"]).await.map(drop)
}

/// One kubeconfig for two clusters.
fn merged(clusters: &[&Cluster]) -> anyhow::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    merged_kubeconfig(clusters, &path)?;
    Ok((folder, path))
}

/// Uses the link as the importer would.
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
async fn twice_is_once() -> anyhow::Result<()> {
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
    settled(&c2).await?;
    let once = (versions(&c1).await?, versions(&c2).await?);
    kubemcsa_ok(&kubeconfig, bootstrap)?;
    let twice = (versions(&c1).await?, versions(&c2).await?);
    ensure!(once == twice, "changed: {:#?}\nto {:#?}", once, twice);

    // Installing into a target that is linked already, and again, goes as well.
    kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
    let once = versions(&c1).await?;
    kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
    ensure!(versions(&c1).await? == once, "install twice is not install once");

    // Both ways: c2 becomes a target, too.
    kubemcsa_ok(&kubeconfig, ["bootstrap", "--target-context", "c2", "--source-context", "c1"])?;
    link_works(&c2, &c1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_after_any_line_and_repeated_it_ends_right() -> anyhow::Result<()> {
    let (c1, c2) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    // The seed's other command: two kubeconfig files.
    let (target, source) = (c1.kubeconfig().display().to_string(), c2.kubeconfig().display().to_string());
    let bootstrap = ["bootstrap", "--target-kubeconfig", &target, "--source-kubeconfig", &source];
    let mut interrupted = 0;
    while kill_after(interrupted, &bootstrap)? {
        interrupted += 1;
    }
    ensure!(interrupted > 5, "only {interrupted} lines to be interrupted after");
    kubemcsa_ok(Path::new("/nonexistent"), bootstrap)?;
    link_works(&c1, &c2).await?;
    settled(&c2).await?;
    let once = (versions(&c1).await?, versions(&c2).await?);
    kubemcsa_ok(Path::new("/nonexistent"), bootstrap)?;
    ensure!((versions(&c1).await?, versions(&c2).await?) == once, "a further run changed something");
    Ok(())
}

/// Kills kubemcsa once it has said `lines` lines; whether it was killed before it was done.
fn kill_after(lines: usize, args: &[&str]) -> anyhow::Result<bool> {
    let mut command = Command::new(program("kubemcsa")?);
    let mut child = command.args(args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let said = BufReader::new(stderr).lines().take(lines).count();
    child.kill()?;
    let status = child.wait()?;
    Ok(said == lines && !status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_refuses_it_says_on_one_line() -> anyhow::Result<()> {
    let (c1, c2) = pair().await;
    let (folder, kubeconfig) = merged(&[c1, c2])?;
    let before = (versions(c1).await?, versions(c2).await?);
    let refused = |kubeconfig: &Path, args: &[&str], said: &[&str]| {
        let args = std::iter::once("bootstrap").chain(args.iter().copied());
        let output = kubemcsa(kubeconfig, args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.trim().lines().last().unwrap_or_default();
        ensure!(output.status.code() == Some(1), "exit code {:?}: {stderr}", output.status.code());
        ensure!(output.stdout.is_empty(), "it wrote to stdout");
        for word in said {
            ensure!(last.contains(word), "{word:?} is not in the last line of:\n{stderr}");
        }
        Ok(())
    };
    let contexts =
        |target: &'static str, source: &'static str| ["--target-context", target, "--source-context", source];
    // The wrong context, with those that there are.
    refused(&kubeconfig, &contexts("c1", "c3"), &["c3", "c1", "c2"])?;
    // A cluster linked to itself, by whatever names.
    refused(&kubeconfig, &contexts("c1", "c1"), &["--allow-self"])?;
    let text = std::fs::read_to_string(&kubeconfig)?;
    let alias = folder.path().join("alias");
    std::fs::write(&alias, text.replace(": c1\n", ": alias\n"))?;
    let alias = alias.display().to_string();
    let twin = ["--target-context", "c1", "--source-kubeconfig", &alias, "--source-context", "alias"];
    refused(&kubeconfig, &twin, &["--allow-self"])?;

    // Loopback, where the target is another host; nothing is called to find out.
    let remote = folder.path().join("remote");
    std::fs::write(&remote, text.replace(&c1.server(), "https://192.0.2.1:6443"))?;
    refused(&remote, &contexts("c1", "c2"), &["c2", "127.0.0.1", "--source-server"])?;

    // A cluster that is not there.
    let dead = folder.path().join("dead");
    std::fs::write(&dead, text.replace(&c2.server(), "https://127.0.0.1:1"))?;
    refused(&dead, &contexts("c1", "c2"), &["c2", "https://127.0.0.1:1"])?;

    // Rights that are missing: a user who may do nothing in the source.
    c2.kubectl(["-n", "default", "create", "serviceaccount", "nobody"]).await?;
    let nobody = c2.kubeconfig_of("default", "nobody").await?.display().to_string();
    refused(
        &kubeconfig,
        &["--target-context", "c1", "--source-kubeconfig", &nobody],
        &["c2", "kube-system"],
    )?;

    let mut after = (versions(c1).await?, versions(c2).await?);
    after.1.retain(|object, _| !object.ends_with("nobody"));
    ensure!(before == after, "a refusal changed something");
    Ok(())
}
