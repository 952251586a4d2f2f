//! A target whose pods run in a source: it has a scheduler and no node, and the source has a real one.

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::LAUNCHER;

use crate::cluster::Cluster;
use crate::daemons::Daemons;
use crate::eventually::eventually;
use crate::fixtures::{install_and_link, kubemcsa_ok, wait_for_default_service_account};
use crate::node::{Node, start_scheduler};
use crate::ports::Port;
use crate::process::Process;
use crate::programs::program;

const LOG: &str = "mcsa-launcher.log";

/// What importer and webhook log.
const LEVEL: &str = "info";

/// A target `c1` and a source `c2`, linked. `S` is a [`Node`], or `Box<Cluster>` for a source without a node, in which
/// the test plays the kubelet.
#[derive(Debug)]
pub struct Launched<S = Node> {
    // Fields are dropped in this order.
    launcher: Launcher,
    scheduler: Process,
    daemons: Daemons,
    /// The target. Its programs have the rights of the installation.
    pub home: Cluster,
    /// The source.
    pub source: S,
    /// A kubeconfig with both.
    pub kubeconfig: PathBuf,
}

impl Launched {
    /// Starts the clusters, with a node in the source, and importer, webhook and launcher. `None` if this machine can't
    /// run a node; the reason was printed.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let Some(source) = Node::builder("c2").audit_log().start().await? else { return Ok(None) };
        Self::with_source(source).await.map(Some)
    }
}

impl<S: Deref<Target = Cluster>> Launched<S> {
    /// Starts the target, importer, webhook and launcher, and links it to the source.
    pub async fn with_source(source: S) -> anyhow::Result<Self> {
        // The launcher's certificate is self-signed, as a kubelet's is with kubeadm.
        let home = Cluster::builder("c1").audit_log().api_server_arg("--kubelet-certificate-authority=");
        let home = home.start().await?;
        let kubeconfig = install_and_link(&home, &source)?;
        let daemons = Daemons::start(&home, home.dir(), LEVEL).await?;
        let scheduler = start_scheduler(&home).await?;
        let launcher = Launcher::start(&home, Ipv4Addr::LOCALHOST, LOG).await?;
        Ok(Self { launcher, scheduler, daemons, home, source, kubeconfig })
    }

    /// Creates a namespace in the target, and runs `kubemcsa launch` for it.
    pub async fn launch(&self, namespace: &str) -> anyhow::Result<()> {
        self.home.kubectl(["create", "namespace", namespace]).await?;
        wait_for_default_service_account(&self.home, namespace).await;
        let contexts = ["--target-context", self.home.name(), "--source-context", self.source.name()];
        kubemcsa_ok(&self.kubeconfig, ["launch", namespace].into_iter().chain(contexts))?;
        let nodes = Api::<NodeObject>::all(self.home.client());
        eventually("the virtual node is ready", async || {
            let node = nodes.get(self.source.name()).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready =
                conditions.iter().find(|condition| condition.type_ == "Ready").context("not reported")?;
            ensure!(ready.status == "True", "{ready:?}");
            anyhow::Ok(())
        })
        .await;
        Ok(())
    }

    /// The launcher's process.
    pub fn launcher(&self) -> &Process {
        &self.launcher.process
    }

    /// The importer and the webhook.
    pub fn daemons(&self) -> &Daemons {
        &self.daemons
    }

    /// The scheduler's process.
    pub fn scheduler(&self) -> &Process {
        &self.scheduler
    }

    /// Kills the launcher, as a crash does, and starts it again.
    pub async fn restart_launcher(&mut self) -> anyhow::Result<()> {
        let Launcher { process, address, port, flags } = &mut self.launcher;
        process.kill();
        *process = spawn(&self.home, *address, port, LOG, flags).await?;
        Ok(())
    }

    /// Restarts launcher and webhook, and has them use the Secrets of Argo Workflows in `namespace` for the pods of
    /// that namespace and of `workflow_namespaces`, separated by commas. Later restarts of the launcher keep that, as do
    /// new replicas.
    pub async fn use_argo_secrets(
        &mut self,
        namespace: &str,
        workflow_namespaces: &str,
    ) -> anyhow::Result<()> {
        self.launcher.flags = vec![
            format!("--argo-namespace={namespace}"),
            format!("--argo-workflow-namespaces={workflow_namespaces}"),
        ];
        let flags = &self.launcher.flags;
        self.daemons.restart_webhook(&self.home, self.home.dir(), LEVEL, flags).await?;
        self.restart_launcher().await
    }

    /// Starts another replica of the launcher, which follows the first one.
    pub async fn start_replica(&self) -> anyhow::Result<Launcher> {
        let flags = self.launcher.flags.clone();
        Launcher::start_with(&self.home, Ipv4Addr::LOCALHOST, "mcsa-launcher-replica.log", flags).await
    }
}

/// A replica of the launcher.
#[derive(Debug)]
pub struct Launcher {
    /// The process.
    pub process: Process,
    address: Ipv4Addr,
    port: Port,
    /// Flags that not every launcher has.
    flags: Vec<String>,
}

impl Launcher {
    /// Starts a replica for a target. `address` is that at which the target's API server reaches this machine, and
    /// `log` a file in the target's folder.
    pub async fn start(home: &Cluster, address: Ipv4Addr, log: &str) -> anyhow::Result<Self> {
        Self::start_with(home, address, log, Vec::new()).await
    }

    async fn start_with(
        home: &Cluster,
        address: Ipv4Addr,
        log: &str,
        flags: Vec<String>,
    ) -> anyhow::Result<Self> {
        let port = Port::reserve()?;
        let process = spawn(home, address, &port, log, &flags).await?;
        Ok(Self { process, address, port, flags })
    }
}

async fn spawn(
    home: &Cluster,
    address: Ipv4Addr,
    port: &Port,
    log: &str,
    flags: &[String],
) -> anyhow::Result<Process> {
    let mut command = Command::new(program("mcsa-launcher")?);
    command.arg("--kubeconfig").arg(home.kubeconfig_of(SYSTEM_NAMESPACE, LAUNCHER).await?);
    let endpoint = format!("{address}:{}", port.number);
    command.args(["--endpoint-address", &endpoint, "--node-address", &address.to_string()]);
    command.args(["--probe-address", "127.0.0.1:0", "--lease-duration", "3"]);
    command.args(["--log", "info,mcsa_launcher=debug"]).args(flags);
    Process::spawn("mcsa-launcher", &command, home.dir().join(log))
}
