//! A cluster with a real node: kubelet, containerd, a pod network, kube-proxy and DNS.
//!
//! The node runs in its own Linux namespaces (`network.rs`, `machine.rs`). So it changes only one setting of this
//! machine (`inotify.rs`), several nodes can run at once, and the kernel kills and unmounts everything however a test
//! ends. If a node is killed, empty control groups and a network interface may be left; the next node removes them.

mod cgroups;
mod command;
mod images;
mod inotify;
mod machine;
mod network;
pub(crate) mod programs;
mod services;

use std::fs::File;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use futures::try_join;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node as NodeObject;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use self::images::TOOLS_IMAGE;
pub(crate) use self::network::Network;

use self::cgroups::Cgroups;
use self::command::output;
use self::machine::Machine;
use self::services::Services;
use crate::binaries::binaries;
use crate::cluster::Cluster;
use crate::eventually::try_eventually;
use crate::folder::Folder;
use crate::metrics_server::MetricsServer;
use crate::print_uncaptured;
use crate::process::Process;

/// How long a node, or a pod on it, may take to become ready.
pub const READY_TIMEOUT: Duration = Duration::from_secs(180);

/// How many nodes run at once. With more nodes on two cores, probes time out.
static SLOTS: Semaphore = Semaphore::const_new(2);

/// A [`Cluster`] with one node. When this value is dropped, or this process ends for any reason, everything is stopped.
#[derive(Debug)]
pub struct Node {
    // Fields are dropped in this order: processes first, then what they use.
    running: Mutex<Running>,
    scheduler: Process,
    coredns: Process,
    cgroups: Cgroups,
    cluster: Cluster,
    network: Arc<Network>,
    services: Services,
    folder: Folder,
    _slot: SemaphorePermit<'static>,
}

/// The processes that end when the node loses power.
#[derive(Debug)]
struct Running {
    machine: Machine,
    containerd: Process,
    kubelet: Process,
    kube_proxy: Process,
}

impl Running {
    fn processes(&self) -> [&Process; 3] {
        [&self.containerd, &self.kubelet, &self.kube_proxy]
    }
}

/// The options of a node, from [`Node::builder`].
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    name: String,
    sync_frequency: String,
    max_log_size: String,
    audit_log: bool,
}

impl NodeBuilder {
    /// Sets how often the kubelet updates mounts, like `10s`. The default is Kubernetes' own, a minute.
    #[must_use]
    pub fn sync_frequency(mut self, frequency: &str) -> Self {
        self.sync_frequency = frequency.to_owned();
        self
    }

    /// Sets at which size the kubelet starts a new log of a container, like `1Gi`: `kubectl logs` reads only the newest.
    /// The default is Kubernetes' own, `10Mi`.
    #[must_use]
    pub fn max_log_size(mut self, size: &str) -> Self {
        self.max_log_size = size.to_owned();
        self
    }

    /// Makes the API server log each request, for [`Cluster::audit_events`].
    #[must_use]
    pub fn audit_log(mut self) -> Self {
        self.audit_log = true;
        self
    }

    /// Starts cluster and node, and waits until the node is ready. If this machine can't run a node, prints the reason
    /// and returns `None`; with `CI=true`, that is an error.
    pub async fn start(self) -> anyhow::Result<Option<Node>> {
        if let Some(reason) = programs::missing_requirement() {
            ensure!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
            let thread = std::thread::current();
            print_uncaptured(format_args!("skipped {}: {reason}", thread.name().unwrap_or("a test")));
            return Ok(None);
        }
        self.boot().await.map(Some)
    }

    async fn boot(self) -> anyhow::Result<Node> {
        let programs = programs::programs().await?;
        inotify::raise_limit()?;
        let slot = SLOTS.acquire().await?;
        let started = Timestamp::now();
        let folder = Folder::create(&format!("{}-node", self.name))?;
        let network = Arc::new(Network::start(folder.path()).await?);
        let services = Services {
            programs,
            dir: folder.path().to_path_buf(),
            name: format!("{}-node", self.name),
            address: network.node_address(),
            sync_frequency: self.sync_frequency,
            max_log_size: self.max_log_size,
        };
        let mut builder = Cluster::builder(&self.name).network(network.clone());
        if self.audit_log {
            builder = builder.audit_log();
        }
        let power_on = async {
            let (machine, containerd) = power_on(&services, &network).await?;
            for archive in images::write(&services.dir, binaries().await?)? {
                load_image(&services, &machine, &archive)?;
            }
            Ok((machine, containerd))
        };
        let (cluster, (machine, containerd)) = try_join!(builder.start(), power_on)?;
        let binding = serde_json::from_value(Services::coredns_role_binding())?;
        Api::<ClusterRoleBinding>::all(cluster.client()).create(&PostParams::default(), &binding).await?;
        let spawn = |name: &str, command: Command| {
            Process::spawn(name, &network.command(&command), folder.join(&format!("{name}.log")))
        };
        let scheduler = spawn("kube-scheduler", services.scheduler(&cluster)?)?;
        let coredns = spawn("coredns", services.coredns(&cluster)?)?;
        let cgroups = Cgroups::create(network.number())?;
        let running = Mutex::new(start_node(&services, &cluster, &network, &cgroups, machine, containerd)?);
        let node =
            Node { running, scheduler, coredns, cgroups, cluster, network, services, folder, _slot: slot };
        node.wait_until_ready(started).await?;
        Ok(node)
    }
}

impl Deref for Node {
    type Target = Cluster;

    /// The node's cluster.
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// Starts a scheduler for a cluster without a node. Its files are in [`Cluster::dir`].
pub(crate) async fn start_scheduler(cluster: &Cluster) -> anyhow::Result<Process> {
    let programs = programs::programs().await?;
    let command = services::scheduler(programs, cluster.dir(), cluster)?;
    Process::spawn("kube-scheduler", &command, cluster.dir().join("kube-scheduler.log"))
}

impl Node {
    /// Whether this machine can run a node.
    pub(crate) fn is_possible() -> bool {
        programs::missing_requirement().is_none()
    }

    /// The options of a new cluster with a node. The name is the cluster's.
    pub fn builder(name: &str) -> NodeBuilder {
        NodeBuilder {
            name: name.to_owned(),
            sync_frequency: "1m".to_owned(),
            max_log_size: "10Mi".to_owned(),
            audit_log: false,
        }
    }

    /// The address at which pods can reach this machine. A source can listen on it.
    pub fn host_address(&self) -> Ipv4Addr {
        self.network.host_address()
    }

    /// Starts a metrics-server of the cluster.
    pub async fn start_metrics_server(&self) -> anyhow::Result<MetricsServer> {
        MetricsServer::start_in(&self.cluster, Some(&self.network)).await
    }

    /// Loads an image archive into the node.
    pub fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        load_image(&self.services, &self.running().machine, archive)
    }

    /// Runs a program of this machine as root in the node, outside of pods, and returns its stdout.
    pub fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<String> {
        let program =
            programs::find(program).with_context(|| format!("{program} is missing on this machine"))?;
        output(&mut self.running().machine.command(Command::new(program).args(args)))
    }

    /// The IDs of all processes of the node that run a program of this name, inside pods or outside. The IDs are valid
    /// for [`Node::run`].
    pub fn pids_of(&self, program: &str) -> anyhow::Result<Vec<String>> {
        let script = "for process in /proc/[0-9]*; do
            read -r name < $process/comm && [ \"$name\" = \"$0\" ] && echo ${process#/proc/}
        done 2>/dev/null; true";
        Ok(self.run("sh", &["-c", script, program])?.lines().map(str::to_owned).collect())
    }

    /// The values of this key in all Secrets that pods of the node have mounted.
    pub fn mounted_values(&self, key: &str) -> anyhow::Result<Vec<String>> {
        let volumes = self.folder.join("kubelet/pods");
        let files = format!("{}/*/volumes/kubernetes.io~secret/*/{key}", volumes.display());
        let encoded =
            self.run("sh", &["-c", &format!("for file in {files}; do base64 -w0 $file; echo; done")])?;
        let decode = |line: &str| Ok(String::from_utf8(BASE64_STANDARD.decode(line)?)?);
        encoded.lines().map(decode).collect()
    }

    /// Gives an image of the node another name.
    pub fn tag_image(&self, image: &str, name: &str) -> anyhow::Result<()> {
        let ctr =
            services::ctr(&self.services.programs.containerd, &["images", "tag", "--force", image, name]);
        output(&mut self.running().machine.command(&ctr)).map(drop)
    }

    /// The logs of all pods, with those of restarted containers, as (file, content).
    pub fn pod_logs(&self) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let mut logs = Vec::new();
        let mut folders = vec![self.folder.join("pods")];
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?
            {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let content = std::fs::read(&path)?;
                    logs.push((path, String::from_utf8_lossy(&content).into_owned()));
                }
            }
        }
        Ok(logs)
    }

    /// The resident memory of kube-proxy in KiB, for comparison.
    pub fn kube_proxy_rss_kib(&self) -> Option<u64> {
        self.running().kube_proxy.rss_kib()
    }

    /// Simulates a power loss: kills all pods and the node's processes, whose memory and tmpfs are lost, and starts the
    /// node again. The control plane keeps running.
    pub async fn reboot(&self) -> anyhow::Result<()> {
        let stopped = Timestamp::now();
        {
            let running = self.running();
            running.machine.kill();
            running.processes().into_iter().for_each(Process::kill);
        }
        self.network.clear()?;
        let (machine, containerd) = power_on(&self.services, &self.network).await?;
        *self.running() =
            start_node(&self.services, &self.cluster, &self.network, &self.cgroups, machine, containerd)?;
        self.wait_until_ready(stopped).await
    }

    /// Waits until the kubelet has reported, not before `since`, that the node is ready.
    async fn wait_until_ready(&self, since: Timestamp) -> anyhow::Result<()> {
        let nodes = Api::<NodeObject>::all(self.cluster.client());
        try_eventually(READY_TIMEOUT, format!("node {} is ready", self.services.name), async || {
            let others = [&self.scheduler, &self.coredns];
            self.running().processes().into_iter().chain(others).try_for_each(Process::check)?;
            let node = nodes.get(&self.services.name).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
            let ready = ready.context("the node has no condition Ready")?;
            // Heartbeats are in whole seconds.
            let heartbeat = ready.last_heartbeat_time.as_ref().map(|time| time.0.as_second());
            let is_new = heartbeat.is_some_and(|second| second >= since.as_second());
            ensure!(
                ready.status == "True" && is_new,
                "not ready: {:?}, last heartbeat {:?}",
                ready.message,
                ready.last_heartbeat_time
            );
            Ok(())
        })
        .await
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a machine with containerd, whose images survive a power loss.
async fn power_on(services: &Services, network: &Network) -> anyhow::Result<(Machine, Process)> {
    let machine = Machine::start(&services.dir, network).await?;
    let command = machine.command(&services.containerd()?);
    let containerd = Process::spawn("containerd", &command, services.dir.join("containerd.log"))?;
    try_eventually(READY_TIMEOUT, "containerd responds", async || {
        containerd.check()?;
        output(&mut machine.command(&services::ctr(&services.programs.containerd, &["version"])))
    })
    .await?;
    Ok((machine, containerd))
}

fn start_node(
    services: &Services,
    cluster: &Cluster,
    network: &Network,
    cgroups: &Cgroups,
    machine: Machine,
    containerd: Process,
) -> anyhow::Result<Running> {
    let log = |name: &str| services.dir.join(format!("{name}.log"));
    let kubelet = machine.command(&services.kubelet(cluster, &cgroups.path())?);
    let kubelet = Process::spawn("kubelet", &kubelet, log("kubelet"))?;
    let kube_proxy = network.command(&services.kube_proxy(cluster)?);
    let kube_proxy = Process::spawn("kube-proxy", &kube_proxy, log("kube-proxy"))?;
    Ok(Running { machine, containerd, kubelet, kube_proxy })
}

fn load_image(services: &Services, machine: &Machine, archive: &Path) -> anyhow::Result<()> {
    let ctr = services::ctr(&services.programs.containerd, &["images", "import", "-"]);
    let file = File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    let mut command = machine.command(&ctr);
    command.stdin(Stdio::from(file));
    output(&mut command).with_context(|| format!("importing {}", archive.display())).map(drop)
}
