//! `kubemcsa graph` of two clusters: what it shows, and what it reports if it can't read a part.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use kube::config::Kubeconfig;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use mcsa_tests::{
    Cluster, Imports, create_pod_lister, eventually, install_and_link, kubeconfig_with_server, kubemcsa,
    kubemcsa_ok, pod_lister_import, wait_for_default_service_account,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Namespace of the imports.
const HERE: &str = "graphed";

/// Three pods that reference an import, and one that mounts the Secret of another.
const PODS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {multicluster.admiralty.io/service-account-import.name: lister}
    spec:
      containers: [{name: main, image: none}]
---
apiVersion: v1
kind: Pod
metadata: {name: by-hand}
spec:
  containers: [{name: main, image: none}]
  volumes: [{name: v, secret: {secretName: boss-token}}]
";

struct Fixture {
    target: Cluster,
    source: Cluster,
    /// For both clusters.
    kubeconfig: PathBuf,
}

/// A target with imports of a service account that may list pods, of one that is cluster-admin, and of a cluster
/// that is not linked.
async fn fixture() -> anyhow::Result<&'static Fixture> {
    static FIXTURE: OnceCell<Fixture> = OnceCell::const_new();
    FIXTURE.get_or_try_init(start).await
}

async fn start() -> anyhow::Result<Fixture> {
    let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let kubeconfig = install_and_link(&target, &source)?;
    create_pod_lister(&source, "listed").await?;
    source.kubectl(["-n", "listed", "create", "serviceaccount", "boss"]).await?;
    let bind = ["create", "clusterrolebinding", "boss", "--clusterrole=cluster-admin"];
    source.kubectl(bind.into_iter().chain(["--serviceaccount=listed:boss"])).await?;
    target.kubectl(["create", "namespace", HERE]).await?;
    let imports = Imports::of(target.client(), HERE);
    imports.create(&pod_lister_import("lister", "c2", "listed")).await?;
    let boss = pod_lister_import("boss", "c2", "listed").spec;
    let boss = ServiceAccountImportSpec { name: "boss".into(), ..boss };
    imports.create(&ServiceAccountImport::new("boss", boss)).await?;
    imports.create(&pod_lister_import("lost", "c9", "listed")).await?;
    wait_for_default_service_account(&target, HERE).await;
    let file = target.dir().join("pods.yaml");
    std::fs::write(&file, PODS)?;
    target.kubectl(["-n", HERE, "apply", "-f", &file.display().to_string()]).await?;
    eventually("there are four pods", async || {
        let pods = target.kubectl(["-n", HERE, "get", "pods", "-o", "name"]).await?;
        ensure!(pods.lines().count() == 4, "{pods}");
        Ok(())
    })
    .await;
    Ok(Fixture { target, source, kubeconfig })
}

/// Runs `kubemcsa graph`; returns stdout and stderr.
fn graph(kubeconfig: &Path, args: &[&str]) -> anyhow::Result<(String, String)> {
    let output = kubemcsa(kubeconfig, ["graph"].iter().chain(args).copied())?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    Ok((stdout, stderr))
}

const BOTH: [&str; 4] = ["--context", "c1", "--context", "c2"];

fn both_and(more: &[&'static str]) -> Vec<&'static str> {
    BOTH.iter().chain(more).copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_to_cluster_admin_are_marked() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let (text, stderr) = graph(&fixture.kubeconfig, &both_and(&["-n", HERE]))?;
    let expected = "c1
└─ graphed
   ├─ import boss  ! could become cluster-admin  not ready: NotReconciled
   │  ├─ held by pod by-hand
   │  └─ service account listed/boss in c2
   │     ├─ ! it can do everything
   │     └─ cluster-wide: everything
   ├─ import lister  not ready: NotReconciled
   │  ├─ held by 3 pods of deployment web
   │  └─ service account listed/pod-lister in c2
   │     └─ listed: list pods
   └─ import lost  not ready: NotReconciled
      ├─ held by no pod
      └─ service account listed/pod-lister in c9
         └─ permissions unknown: there is no link to c9
";
    ensure!(text == expected, "{text}");
    ensure!(stderr.is_empty(), "{stderr}");

    // Without a namespace, the graph includes the link, which may mint tokens of any service account.
    let (text, _) = graph(&fixture.kubeconfig, &BOTH)?;
    let link = text.split_once("link c2").context("no link")?.1;
    ensure!(
        link.contains("held by the importer") && link.contains("multicluster-service-account/c1 in c2"),
        "{text}"
    );
    ensure!(link.contains("mint tokens of service accounts in all namespaces"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_formats_show_the_same() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let json: Value =
        serde_json::from_str(&graph(&fixture.kubeconfig, &both_and(&["-n", HERE, "-o", "json"]))?.0)?;
    let identities = json["identities"].as_array().context("no identities")?;
    let boss = identities.iter().find(|it| it["name"] == "boss").context("no boss")?;
    ensure!(boss["admin"][0] == "do everything", "{boss}");
    let imports = json["imports"].as_array().context("no imports")?.len();

    let (dot, _) = graph(&fixture.kubeconfig, &both_and(&["-n", HERE, "-o", "dot"]))?;
    ensure!(dot.starts_with("digraph") && dot.matches(" -> identity").count() == imports, "{dot}");
    let (mermaid, _) = graph(&fixture.kubeconfig, &both_and(&["-n", HERE, "-o", "mermaid"]))?;
    ensure!(mermaid.starts_with("flowchart LR\n") && mermaid.contains(":::marked"), "{mermaid}");
    // `--format` is a hidden alias.
    let (svg, _) = graph(&fixture.kubeconfig, &both_and(&["-n", HERE, "--format", "svg"]))?;
    ensure!(svg.starts_with("<svg ") && svg.contains("it can do everything"), "{svg}");
    for output in [dot, mermaid, svg] {
        for name in ["lister", "deployment web", "by-hand", "listed/boss"] {
            ensure!(output.contains(name), "{name} is not in {output}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_roles_are_reported() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    // Without the source's context.
    let (text, stderr) = graph(&fixture.kubeconfig, &["--context", "c1", "-n", HERE])?;
    ensure!(text.contains("service account listed/boss in c2\n"), "{text}");
    ensure!(text.contains("permissions unknown: add --context"), "{text}");
    ensure!(stderr.is_empty() && !text.contains("cluster-admin"), "{stderr}{text}");

    // With a user who may only identify the source.
    let source = &fixture.source;
    source.kubectl(["-n", "default", "create", "serviceaccount", "passer-by"]).await?;
    let role = ["create", "clusterrole", "passer-by", "--verb=get", "--resource=namespaces"];
    source.kubectl(role.into_iter().chain(["--resource-name=kube-system"])).await?;
    let bind = ["create", "clusterrolebinding", "passer-by", "--clusterrole=passer-by"];
    source.kubectl(bind.into_iter().chain(["--serviceaccount=default:passer-by"])).await?;
    let passer_by = Kubeconfig::read_from(source.kubeconfig_of("default", "passer-by").await?)?;
    let (_folder, path) = joined([fixture.target.kubeconfig_value(), passer_by])?;
    let (text, stderr) = graph(&path, &both_and(&["-n", HERE]))?;
    ensure!(text.contains("service account listed/boss in c2\n"), "{text}");
    ensure!(text.contains("permissions unknown: context c2 cannot list roles"), "{text}");
    ensure!(
        stderr.lines().all(|line| line.starts_with("c2  warning: ")) && stderr.contains("cannot list"),
        "{stderr}"
    );
    Ok(())
}

/// With a user who may only list imports.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_parts_of_a_target_are_reported() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let target = &fixture.target;
    target.kubectl(["-n", "default", "create", "serviceaccount", "auditor"]).await?;
    let role = ["create", "clusterrole", "auditor", "--verb=list", "--resource"];
    target.kubectl(role.into_iter().chain(["serviceaccountimports.multicluster.admiralty.io"])).await?;
    let bind = ["create", "clusterrolebinding", "auditor", "--clusterrole=auditor"];
    target.kubectl(bind.into_iter().chain(["--serviceaccount=default:auditor"])).await?;
    let auditor = Kubeconfig::read_from(target.kubeconfig_of("default", "auditor").await?)?;
    let (_folder, path) = joined([auditor, fixture.source.kubeconfig_value()])?;
    // The imports of links identify their clusters.
    let (text, stderr) = graph(&path, &BOTH)?;
    ensure!(text.contains("! could become cluster-admin") && text.contains("holders unknown"), "{text}");
    for unreadable in ["pods", "the secrets of links", "namespace kube-system"] {
        ensure!(stderr.contains(unreadable), "{unreadable} is not in {stderr}");
    }
    let (text, _) = graph(&path, &both_and(&["-n", HERE]))?;
    ensure!(text.contains("permissions unknown: links could not be listed"), "{text}");
    Ok(())
}

/// Such a link is a Secret without an import, which `kubemcsa export` can print.
#[tokio::test(flavor = "multi_thread")]
async fn link_that_was_created_by_hand_is_shown() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let target = &fixture.target;
    let export = ["export", "pod-lister", "-n", "listed", "--context", "c2", "--as", "by-hand-token"];
    let secret = kubemcsa_ok(&fixture.kubeconfig, export)?;
    let file = target.dir().join("link.yaml");
    std::fs::write(&file, secret)?;
    let system = ["-n", SYSTEM_NAMESPACE];
    let path = file.display().to_string();
    target.kubectl(system.into_iter().chain(["apply", "-f", &path])).await?;
    let label = ["label", "secret", "by-hand-token", "multicluster.admiralty.io/link=true"];
    target.kubectl(system.into_iter().chain(label)).await?;
    let (text, _) = graph(&fixture.kubeconfig, &both_and(&["-n", SYSTEM_NAMESPACE]))?;
    target.kubectl(system.into_iter().chain(["delete", "secret", "by-hand-token"])).await?;
    let link = text.split_once("link by-hand-token\n").with_context(|| format!("no link in {text}"))?.1;
    ensure!(link.contains("held by the importer") && link.contains("listed/pod-lister in c2"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_clusters_are_an_error_only_if_no_other_can_be_read() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let dead = kubeconfig_with_server(Kubeconfig::read_from(&fixture.kubeconfig)?, "https://127.0.0.1:1");
    let renamed = serde_saphyr::to_string(&dead)?.replace(": c1\n", ": dead\n").replace(": c2\n", ": gone\n");
    let dead = Kubeconfig::from_yaml(&renamed)?;
    let (_folder, path) = joined([Kubeconfig::read_from(&fixture.kubeconfig)?, dead])?;
    let (text, stderr) = graph(&path, &["--all-contexts", "-n", HERE])?;
    ensure!(text.contains("! could become cluster-admin"), "{text}");
    for name in ["dead", "gone"] {
        let count = stderr.lines().filter(|line| line.starts_with(&format!("{name}  warning: "))).count();
        ensure!(count == 1, "{count} warnings about {name} in {stderr}");
    }
    let output = kubemcsa(&path, ["graph", "--context", "dead", "--context", "gone"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{stderr}");
    ensure!(stderr.contains("none of the clusters could be read"), "{stderr}");
    let output = kubemcsa(&path, ["graph", "--context", "c1", "--context", "c7"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(1) && stderr.contains("c7") && stderr.contains("c1, c2, dead, gone"),
        "{stderr}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_with_several_contexts_is_shown_once() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let alias = serde_saphyr::to_string(&fixture.target.kubeconfig_value())?.replace(": c1\n", ": alias\n");
    let (_folder, path) =
        joined([Kubeconfig::read_from(&fixture.kubeconfig)?, Kubeconfig::from_yaml(&alias)?])?;
    let json: Value = serde_json::from_str(&graph(&path, &["--all-contexts", "-o", "json"])?.0)?;
    ensure!(json["targets"].as_array().is_some_and(|targets| targets.len() == 1), "{}", json["targets"]);
    // Also if the user of the first context may read nothing.
    let target = &fixture.target;
    target.kubectl(["-n", "default", "create", "serviceaccount", "stranger"]).await?;
    let stranger = target.kubeconfig_of("default", "stranger").await?;
    let role = ["create", "clusterrole", "stranger", "--verb=get", "--resource=namespaces"];
    target.kubectl(role).await?;
    let bind = ["create", "clusterrolebinding", "stranger", "--clusterrole=stranger"];
    target.kubectl(bind.into_iter().chain(["--serviceaccount=default:stranger"])).await?;
    let stranger = serde_saphyr::to_string(&Kubeconfig::read_from(stranger)?)?.replace(": c1\n", ": a\n");
    let (_folder, path) =
        joined([Kubeconfig::from_yaml(&stranger)?, Kubeconfig::read_from(&fixture.kubeconfig)?])?;
    let (text, _) = graph(&path, &["--all-contexts", "-n", HERE])?;
    ensure!(text.starts_with("c1\n") && text.contains("! could become cluster-admin"), "{text}");
    // A cluster without the CRD has no imports.
    let (text, stderr) = graph(&fixture.kubeconfig, &["--context", "c2"])?;
    ensure!(text.is_empty() && stderr.contains("c2  no imports found"), "{text}{stderr}");
    kubemcsa_ok(&fixture.kubeconfig, ["graph", "--context", "c2", "-o", "svg"]).map(drop)
}

fn joined(all: [Kubeconfig; 2]) -> anyhow::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    let [first, second] = all;
    std::fs::write(&path, serde_saphyr::to_string(&first.merge(second)?)?)?;
    Ok((folder, path))
}
