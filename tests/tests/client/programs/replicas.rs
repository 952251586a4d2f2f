//! `keep_replicas` through renamed contexts, a plugin that hangs, and a member that leaves while it is silent.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode, Kubeconfig};
use kube::{Api, ResourceExt};
use mcsa_tests::{
    Cluster, Fault, Proxy, eventually, kubeconfig_with_server, kubectl, shared_clusters,
    wait_for_default_service_account, write_merged_kubeconfig,
};
use serde_json::json;

use super::{lines, prints, run};

/// Deployments named `web`, and their copies.
struct Deployments {
    namespace: &'static str,
}

impl Deployments {
    /// Creates the namespace in all clusters, and a Deployment in the first.
    async fn new(namespace: &'static str, clusters: &[&Cluster]) -> anyhow::Result<Self> {
        for cluster in clusters {
            cluster.kubectl(["create", "namespace", namespace]).await?;
        }
        let this = Self { namespace };
        this.kubectl(clusters[0], "create deployment web --image=none --replicas=2").await?;
        this.kubectl(clusters[0], "label deployment web replicate=").await?;
        Ok(this)
    }

    async fn kubectl(&self, cluster: &Cluster, args: &str) -> anyhow::Result<()> {
        cluster.kubectl(["-n", self.namespace].into_iter().chain(args.split(' '))).await.map(drop)
    }

    fn api(&self, cluster: &Cluster) -> Api<Deployment> {
        Api::namespaced(cluster.client(), self.namespace)
    }

    async fn have_replicas(&self, cluster: &Cluster, replicas: i32) -> Deployment {
        eventually(format!("{} has {replicas} replicas", cluster.name()), async || {
            let found = self.api(cluster).get("web").await?;
            ensure!(found.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas), "{:?}", found.spec);
            Ok(found)
        })
        .await
    }

    async fn are_gone(&self, cluster: &Cluster) {
        eventually(format!("{} has no copy", cluster.name()), async || {
            ensure!(self.api(cluster).get_opt("web").await?.is_none(), "it has one");
            Ok(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_follow_their_original() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    write_merged_kubeconfig(&[c1, c2], &kubeconfig)?;
    let deployments = Deployments::new("followed", &[c1, c2]).await?;
    let process = run("keep_replicas", &["c1", "followed"], &kubeconfig, folder.path())?;
    deployments.have_replicas(c2, 2).await;
    deployments.kubectl(c2, "scale deployment web --replicas=9").await?;
    deployments.have_replicas(c2, 2).await;
    deployments.kubectl(c1, "scale deployment web --replicas=3").await?;
    deployments.have_replicas(c2, 3).await;
    deployments.kubectl(c1, "label deployment web replicate-").await?;
    deployments.are_gone(c2).await;

    // A Deployment that is not a copy is neither changed nor deleted.
    deployments.kubectl(c2, "create deployment web --image=other --replicas=1").await?;
    deployments.kubectl(c1, "label deployment web replicate=").await?;
    prints(&process, 0, &["c1/followed/web", "cluster c2", "it is not a copy"]).await;
    deployments.kubectl(c1, "delete deployment web").await?;
    deployments.are_gone(c1).await;
    deployments.have_replicas(c2, 1).await;
    ensure!(process.terminate().await?.success(), "{}", process.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_contexts_keep_their_copies() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    write_merged_kubeconfig(&[c1, c2], &kubeconfig)?;
    let deployments = Deployments::new("keep-renamed", &[c1, c2]).await?;
    let process = run("keep_replicas", &["c1", "keep-renamed"], &kubeconfig, folder.path())?;
    prints(&process, 0, &[r#"c1/keep-renamed/web has copies in ["c2"]"#]).await;
    let copy = deployments.api(c2).get("web").await?;
    for (old, new) in [("c1", "home"), ("c2", "away")] {
        kubectl(&kubeconfig, ["config", "rename-context", old, new]).await?;
    }
    // The member with the old name has left, and the original's own cluster has no copy.
    prints(&process, 0, &[r#"c1/keep-renamed/web has copies in ["away"]"#]).await;
    deployments.kubectl(c2, "scale deployment web --replicas=9").await?;
    ensure!(deployments.have_replicas(c2, 2).await.uid() == copy.uid(), "the copy was replaced");
    ensure!(process.terminate().await?.success(), "{}", process.log());

    // A restart with the new name finds the copies of the old one.
    let process = run("keep_replicas", &["home", "keep-renamed"], &kubeconfig, folder.path())?;
    prints(&process, 0, &[r#"home/keep-renamed/web has copies in ["away"]"#]).await;
    deployments.kubectl(c2, "scale deployment web --replicas=9").await?;
    ensure!(deployments.have_replicas(c2, 2).await.uid() == copy.uid(), "the copy was replaced");
    for cluster in [c1, c2] {
        let all = deployments.api(cluster).list(&Default::default()).await?;
        ensure!(all.items.len() == 1, "{} has {} Deployments", cluster.name(), all.items.len());
    }
    deployments.kubectl(c1, "delete deployment web").await?;
    deployments.are_gone(c2).await;
    ensure!(process.terminate().await?.success(), "{}", process.log());
    Ok(())
}

/// A context of a cluster behind a proxy, with a credential plugin that waits for somebody to log in.
struct Login {
    proxy: Proxy,
    context: Kubeconfig,
    /// The plugin prints what is written to this named pipe.
    pipe: PathBuf,
    token: String,
}

impl Login {
    async fn new(cluster: &Cluster, folder: &Path) -> anyhow::Result<Self> {
        let grant =
            "create clusterrolebinding login --clusterrole=cluster-admin --serviceaccount=default:default";
        cluster.kubectl(grant.split(' ')).await?;
        wait_for_default_service_account(cluster, "default").await;
        let token = cluster.kubectl(["create", "token", "default"]).await?.trim().to_owned();
        let pipe = folder.join("login");
        ensure!(Command::new("mkfifo").arg(&pipe).status()?.success(), "mkfifo failed");
        let proxy = Proxy::start(([127, 0, 0, 1], cluster.port()).into()).await?;
        let mut context = kubeconfig_with_server(cluster.kubeconfig_value(), &proxy.url());
        let exec = ExecConfig {
            api_version: Some("client.authentication.k8s.io/v1".into()),
            command: Some("cat".into()),
            args: Some(vec![pipe.to_str().context("the path is not UTF-8")?.into()]),
            interactive_mode: Some(ExecInteractiveMode::Never),
            ..Default::default()
        };
        for user in context.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut()) {
            *user = AuthInfo { exec: Some(exec.clone()), ..Default::default() };
        }
        Ok(Self { proxy, context, pipe, token })
    }

    /// Lets the plugin print a token.
    fn log_in(&self) {
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": { "token": self.token },
        });
        let pipe = self.pipe.clone();
        // Opening the pipe waits for the plugin.
        std::thread::spawn(move || drop(std::fs::write(pipe, credential.to_string())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_that_waits_for_a_login_or_leaves_while_silent_delays_no_other() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let c3 = Cluster::start("c3").await?;
    let folder = tempfile::tempdir()?;
    let (login, kubeconfig) = (Login::new(&c3, folder.path()).await?, folder.path().join("kubeconfig"));
    let write_contexts = |is_listed: bool| {
        let both = c1.kubeconfig_value().merge(c2.kubeconfig_value())?;
        let all = if is_listed { both.merge(login.context.clone())? } else { both };
        anyhow::Ok(std::fs::write(&kubeconfig, serde_saphyr::to_string(&all)?)?)
    };
    write_contexts(true)?;
    let deployments = Deployments::new("logged-in", &[c1, c2, &c3]).await?;
    let process = run("keep_replicas", &["c1", "logged-in"], &kubeconfig, folder.path())?;
    deployments.have_replicas(c2, 2).await;
    prints(&process, 0, &["reconciling c1/logged-in/web", "cluster c3", "unresponsive"]).await;
    deployments.kubectl(c2, "scale deployment web --replicas=9").await?;
    deployments.have_replicas(c2, 2).await;
    ensure!(login.proxy.connections() == 0, "c3 was reached before the login");
    login.log_in();
    deployments.have_replicas(&c3, 2).await;
    prints(&process, 0, &[r#"c1/logged-in/web has copies in ["c2", "c3"]"#]).await;

    login.proxy.set(Fault::Hang);
    let before = lines(&process);
    deployments.kubectl(c1, "scale deployment web --replicas=3").await?;
    deployments.have_replicas(c2, 3).await;
    prints(&process, before, &["reconciling c1/logged-in/web", "cluster c3", "unresponsive"]).await;
    write_contexts(false)?;
    prints(&process, before, &[r#"c1/logged-in/web has copies in ["c2"]"#]).await;
    deployments.kubectl(c1, "delete deployment web").await?;
    deployments.are_gone(c2).await;
    deployments.have_replicas(&c3, 2).await;

    // When the cluster is a member again, its copy is found to be an orphan.
    login.proxy.set(Fault::Pass);
    write_contexts(true)?;
    deployments.are_gone(&c3).await;
    ensure!(process.terminate().await?.success(), "{}", process.log());
    Ok(())
}
