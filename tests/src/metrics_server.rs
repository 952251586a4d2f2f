//! metrics-server, which serves the metrics API for `kubectl top`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::DeleteParams;
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::go_tools::GoTools;
use crate::node::Network;
use crate::ports::Port;
use crate::process::Process;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "metrics-server";

/// The registration of the metrics API.
const SERVICE: &str = "v1beta1.metrics.k8s.io";

/// Its rights, and its registration at the port 10250.
const OBJECTS: &str = include_str!("../metrics-server/objects.yaml");

/// A metrics-server of one cluster, which reads the usage of pods from all nodes.
#[derive(Debug)]
#[must_use = "stop it: while it does not respond, namespaces of the cluster can't be deleted"]
pub struct MetricsServer {
    services: Api<APIService>,
    _process: Process,
    _port: Port,
}

impl MetricsServer {
    /// Starts it for a cluster without a network of its own, and waits until the metrics API responds.
    pub async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        Self::start_in(cluster, None).await
    }

    /// Starts it where the API server of the cluster runs.
    pub(crate) async fn start_in(cluster: &Cluster, network: Option<&Network>) -> anyhow::Result<Self> {
        let port = Port::reserve()?;
        let objects = cluster.dir().join("metrics-server.yaml");
        fs::write(&objects, OBJECTS.replace("10250", &port.number.to_string()))?;
        cluster.kubectl([OsStr::new("apply"), OsStr::new("-f"), objects.as_os_str()]).await?;
        let kubeconfig = cluster.kubeconfig_of(NAMESPACE, NAME).await?;
        let command = command(program().await?, &kubeconfig, cluster.dir(), port.number);
        let in_network = network.map(|network| network.command(&command));
        let log = cluster.dir().join("metrics-server.log");
        let process = Process::spawn(NAME, in_network.as_ref().unwrap_or(&command), log)?;
        let services = Api::<APIService>::all(cluster.client());
        eventually("the metrics API is available", async || {
            process.check()?;
            let service = services.get(SERVICE).await?;
            let conditions = service.status.and_then(|status| status.conditions).unwrap_or_default();
            ensure!(conditions.iter().any(|condition| condition.status == "True"), "{conditions:?}");
            anyhow::Ok(())
        })
        .await;
        Ok(Self { services, _process: process, _port: port })
    }

    /// Removes the metrics API from the cluster, and ends the process.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.services.delete(SERVICE, &DeleteParams::default()).await?;
        Ok(())
    }
}

fn command(program: &Path, kubeconfig: &Path, dir: &Path, port: u16) -> Command {
    let mut command = Command::new(program);
    for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
        command.arg(flag).arg(kubeconfig);
    }
    command.arg("--cert-dir").arg(dir.join("metrics-server"));
    command.args(["--bind-address=127.0.0.1", &format!("--secure-port={port}")]);
    // As the manifests of metrics-server have it, but for the resolution, here the shortest.
    command.args(["--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port"]);
    command.args(["--kubelet-insecure-tls", "--metric-resolution=10s", "--kubelet-request-timeout=9s"]);
    command
}

/// The path of metrics-server. Builds it if necessary.
pub(crate) async fn program() -> anyhow::Result<&'static PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_try_init(async || tokio::task::spawn_blocking(find).await?).await
}

fn find() -> anyhow::Result<PathBuf> {
    let tools = GoTools {
        name: NAME,
        folder: NAME,
        go_mod: include_str!("../metrics-server/go.mod"),
        module: "sigs.k8s.io/metrics-server",
        flags: ["-ldflags", "-s -w"].map(str::to_owned).into(),
        packages: "tool",
        duration: "two minutes",
        alternative: "",
        renamed: &[],
        additions: &[],
    };
    Ok(tools.build()?.join(NAME))
}
