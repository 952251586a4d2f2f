//! `kubemcsa graph`, of two clusters.

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

/// The namespace of the imports.
const HERE: &str = "graphed";

/// Three pods that ask for an import, and one that mounts the Secret of another.
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

struct World {
    target: Cluster,
    source: Cluster,
    /// Of both.
    kubeconfig: PathBuf,
}

/// A target with two imports, of somebody who may list pods and of somebody who may do everything.
async fn world() -> anyhow::Result<&'static World> {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_try_init(make).await
}

async fn make() -> anyhow::Result<World> {
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
    Ok(World { target, source, kubeconfig })
}

/// What a graph of these contexts says on stdout and stderr.
fn graph(kubeconfig: &Path, args: &[&str]) -> anyhow::Result<(String, String)> {
    let output = kubemcsa(kubeconfig, ["graph"].iter().chain(args).copied())?;
    let (drawn, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok((drawn, said))
}

const BOTH: [&str; 4] = ["--context", "c1", "--context", "c2"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    BOTH.iter().chain(more).copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_could_become_cluster_admin_is_marked() -> anyhow::Result<()> {
    let world = world().await?;
    let (text, said) = graph(&world.kubeconfig, &with(&["-n", HERE]))?;
    let expected = "c1
└─ graphed
   ├─ import boss  ! could reach cluster-admin  not ready: NotReconciled
   │  ├─ held by pod by-hand
   │  └─ is listed/boss in c2
   │     ├─ ! because it may do everything
   │     └─ everywhere: everything
   ├─ import lister  not ready: NotReconciled
   │  ├─ held by 3 pods of deployment web
   │  └─ is listed/pod-lister in c2
   │     └─ listed: list pods
   └─ import lost  not ready: NotReconciled
      ├─ held by no pod
      └─ is listed/pod-lister in c9
         └─ not read: there is no link to c9
";
    ensure!(text == expected, "{text}");
    ensure!(said.is_empty(), "{said}");

    // Without a namespace, the link is there, too: who may mint tokens of anyone can become anyone.
    let (text, _) = graph(&world.kubeconfig, &BOTH)?;
    let link = text.split_once("link c2").context("no link")?.1;
    ensure!(
        link.contains("held by the importer") && link.contains("multicluster-service-account/c1 in c2"),
        "{text}"
    );
    ensure!(link.contains("mint tokens of service accounts in all namespaces"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_format_tells_the_same() -> anyhow::Result<()> {
    let world = world().await?;
    let json: Value =
        serde_json::from_str(&graph(&world.kubeconfig, &with(&["-n", HERE, "--format", "json"]))?.0)?;
    let identities = json["identities"].as_array().context("no identities")?;
    let boss = identities.iter().find(|it| it["name"] == "boss").context("no boss")?;
    ensure!(boss["admin"][0] == "do everything", "{boss}");
    let imports = json["imports"].as_array().context("no imports")?.len();

    let (dot, _) = graph(&world.kubeconfig, &with(&["-n", HERE, "--format", "dot"]))?;
    ensure!(dot.starts_with("digraph") && dot.matches(" -> identity").count() == imports, "{dot}");
    let (mermaid, _) = graph(&world.kubeconfig, &with(&["-n", HERE, "--format", "mermaid"]))?;
    ensure!(mermaid.starts_with("flowchart LR\n") && mermaid.contains(":::marked"), "{mermaid}");
    let (svg, _) = graph(&world.kubeconfig, &with(&["-n", HERE, "--format", "svg"]))?;
    ensure!(svg.starts_with("<svg ") && svg.contains("it may do everything"), "{svg}");
    for drawn in [dot, mermaid, svg] {
        for name in ["lister", "deployment web", "by-hand", "listed/boss"] {
            ensure!(drawn.contains(name), "{name} is not in {drawn}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_told_and_the_rest_is_drawn() -> anyhow::Result<()> {
    let world = world().await?;
    // The source is not looked at at all.
    let (text, said) = graph(&world.kubeconfig, &["--context", "c1", "-n", HERE])?;
    ensure!(text.contains("is listed/boss in c2\n") && text.contains("not read: add --context"), "{text}");
    ensure!(said.is_empty() && !text.contains("cluster-admin"), "{said}{text}");

    // It is looked at by somebody who may know which cluster it is, and no more.
    let source = &world.source;
    source.kubectl(["-n", "default", "create", "serviceaccount", "passer-by"]).await?;
    let role = ["create", "clusterrole", "passer-by", "--verb=get", "--resource=namespaces"];
    source.kubectl(role.into_iter().chain(["--resource-name=kube-system"])).await?;
    let bind = ["create", "clusterrolebinding", "passer-by", "--clusterrole=passer-by"];
    source.kubectl(bind.into_iter().chain(["--serviceaccount=default:passer-by"])).await?;
    let passer_by = Kubeconfig::read_from(source.kubeconfig_of("default", "passer-by").await?)?;
    let (_folder, path) = joined([world.target.kubeconfig_value(), passer_by])?;
    let (text, said) = graph(&path, &with(&["-n", HERE]))?;
    ensure!(text.contains("is listed/boss in c2\n"), "{text}");
    ensure!(text.contains("not read: context c2 may not list the roles there"), "{text}");
    ensure!(
        said.lines().all(|line| line.starts_with("c2  warning: ")) && said.contains("may not list"),
        "{said}"
    );
    Ok(())
}

/// Somebody who may list imports, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_of_a_target_is_not_taken_for_nothing() -> anyhow::Result<()> {
    let world = world().await?;
    let target = &world.target;
    target.kubectl(["-n", "default", "create", "serviceaccount", "auditor"]).await?;
    let role = ["create", "clusterrole", "auditor", "--verb=list", "--resource"];
    target.kubectl(role.into_iter().chain(["serviceaccountimports.multicluster.admiralty.io"])).await?;
    let bind = ["create", "clusterrolebinding", "auditor", "--clusterrole=auditor"];
    target.kubectl(bind.into_iter().chain(["--serviceaccount=default:auditor"])).await?;
    let auditor = Kubeconfig::read_from(target.kubeconfig_of("default", "auditor").await?)?;
    let (_folder, path) = joined([auditor, world.source.kubeconfig_value()])?;
    // The links' imports say which cluster they are for.
    let (text, said) = graph(&path, &BOTH)?;
    ensure!(
        text.contains("! could reach cluster-admin") && text.contains("who holds it is not read"),
        "{text}"
    );
    for unread in ["pods", "the secrets of links", "namespace kube-system"] {
        ensure!(said.contains(unread), "{unread} is not in {said}");
    }
    let (text, _) = graph(&path, &with(&["-n", HERE]))?;
    ensure!(text.contains("not read: the links may not be read"), "{text}");
    Ok(())
}

/// A link that no import keeps is a Secret alone, such as an export makes.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_by_hand_is_somebodys_identity_too() -> anyhow::Result<()> {
    let world = world().await?;
    let target = &world.target;
    let export = ["export", "pod-lister", "-n", "listed", "--context", "c2", "--as", "by-hand-token"];
    let secret = kubemcsa_ok(&world.kubeconfig, export)?;
    let file = target.dir().join("link.yaml");
    std::fs::write(&file, secret)?;
    let system = ["-n", SYSTEM_NAMESPACE];
    let path = file.display().to_string();
    target.kubectl(system.into_iter().chain(["apply", "-f", &path])).await?;
    let label = ["label", "secret", "by-hand-token", "multicluster.admiralty.io/link=true"];
    target.kubectl(system.into_iter().chain(label)).await?;
    let (text, _) = graph(&world.kubeconfig, &with(&["-n", SYSTEM_NAMESPACE]))?;
    target.kubectl(system.into_iter().chain(["delete", "secret", "by-hand-token"])).await?;
    let link = text.split_once("link by-hand-token\n").with_context(|| format!("no link in {text}"))?.1;
    ensure!(link.contains("held by the importer") && link.contains("is listed/pod-lister in c2"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cluster_is_a_warning_and_nothing_but_dead_ones_an_error() -> anyhow::Result<()> {
    let world = world().await?;
    let dead = kubeconfig_with_server(Kubeconfig::read_from(&world.kubeconfig)?, "https://127.0.0.1:1");
    let renamed = serde_saphyr::to_string(&dead)?.replace(": c1\n", ": dead\n").replace(": c2\n", ": gone\n");
    let dead = Kubeconfig::from_yaml(&renamed)?;
    let (_folder, path) = joined([Kubeconfig::read_from(&world.kubeconfig)?, dead])?;
    let (text, said) = graph(&path, &["--all-contexts", "-n", HERE])?;
    ensure!(text.contains("! could reach cluster-admin"), "{text}");
    for name in ["dead", "gone"] {
        let told = said.lines().filter(|line| line.starts_with(&format!("{name}  warning: "))).count();
        ensure!(told == 1, "{told} lines of {name} in {said}");
    }
    let output = kubemcsa(&path, ["graph", "--context", "dead", "--context", "gone"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{said}");
    ensure!(said.contains("none of the clusters could be read"), "{said}");
    let output = kubemcsa(&path, ["graph", "--context", "c1", "--context", "c7"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(1) && said.contains("c7") && said.contains("c1, c2, dead, gone"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_drawn_once_by_whatever_names() -> anyhow::Result<()> {
    let world = world().await?;
    let alias = serde_saphyr::to_string(&world.target.kubeconfig_value())?.replace(": c1\n", ": alias\n");
    let (_folder, path) =
        joined([Kubeconfig::read_from(&world.kubeconfig)?, Kubeconfig::from_yaml(&alias)?])?;
    let json: Value = serde_json::from_str(&graph(&path, &["--all-contexts", "--format", "json"])?.0)?;
    ensure!(json["targets"].as_array().is_some_and(|targets| targets.len() == 1), "{}", json["targets"]);
    // Not even where the first to come may see nothing of it.
    let target = &world.target;
    target.kubectl(["-n", "default", "create", "serviceaccount", "stranger"]).await?;
    let stranger = target.kubeconfig_of("default", "stranger").await?;
    let role = ["create", "clusterrole", "stranger", "--verb=get", "--resource=namespaces"];
    target.kubectl(role).await?;
    let bind = ["create", "clusterrolebinding", "stranger", "--clusterrole=stranger"];
    target.kubectl(bind.into_iter().chain(["--serviceaccount=default:stranger"])).await?;
    let stranger = serde_saphyr::to_string(&Kubeconfig::read_from(stranger)?)?.replace(": c1\n", ": a\n");
    let (_folder, path) =
        joined([Kubeconfig::from_yaml(&stranger)?, Kubeconfig::read_from(&world.kubeconfig)?])?;
    let (text, _) = graph(&path, &["--all-contexts", "-n", HERE])?;
    ensure!(text.starts_with("c1\n") && text.contains("! could reach cluster-admin"), "{text}");
    // A cluster without imports, or without even their definition, has no graph.
    let (text, said) = graph(&world.kubeconfig, &["--context", "c2"])?;
    ensure!(text.is_empty() && said.contains("c2  there are no imports"), "{text}{said}");
    kubemcsa_ok(&world.kubeconfig, ["graph", "--context", "c2", "--format", "svg"]).map(drop)
}

fn joined(all: [Kubeconfig; 2]) -> anyhow::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    let [first, second] = all;
    std::fs::write(&path, serde_saphyr::to_string(&first.merge(second)?)?)?;
    Ok((folder, path))
}
