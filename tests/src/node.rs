//! A cluster with a real node: a kubelet that runs pods, with containerd, a pod network, kube-proxy and
//! DNS.
//!
//! All of it is in namespaces of its own (`network.rs`, `machine.rs`), so that nothing of this machine is
//! changed, several can run side by side, and the kernel ends and unmounts all of it, however a test ends.
//! What a node that was killed may leave, control groups without processes and one end of a cable, goes when
//! the next one starts.

mod command;
mod groups;
mod images;
mod machine;
mod network;
mod programs;
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

pub use self::images::TOOLS;
pub(crate) use self::network::Network;
pub(crate) use self::programs::programs;

use self::command::output;
use self::groups::Groups;
use self::machine::Machine;
use self::services::Services;
use crate::binaries::binaries;
use crate::cluster::Cluster;
use crate::eventually::try_eventually;
use crate::folder::Folder;
use crate::note;
use crate::process::Process;

/// How long a node, or a pod on it, may take to be ready.
pub const READY: Duration = Duration::from_secs(180);

/// A [`Cluster`] with one node. Dropped, or when this process ends in whatever way, nothing of it runs.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order.
    running: Mutex<Running>,
    scheduler: Process,
    coredns: Process,
    groups: Groups,
    cluster: Cluster,
    network: Arc<Network>,
    services: Services,
    folder: Folder,
}

/// What ends when the node loses power.
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

/// What a node is to be like; from [`Node::builder`].
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    name: String,
    sync_frequency: String,
    audit_log: bool,
}

impl NodeBuilder {
    /// Has the kubelet look at what is mounted as often as that, `10s`; by default each minute, as
    /// everywhere.
    #[must_use]
    pub fn sync_frequency(mut self, frequency: &str) -> Self {
        self.sync_frequency = frequency.to_owned();
        self
    }

    /// Has the API server log each request for [`Cluster::audit_events`].
    #[must_use]
    pub fn audit_log(mut self) -> Self {
        self.audit_log = true;
        self
    }

    /// Starts cluster and node, and waits until the node is ready. Where there can be none, that is said
    /// in one line, and there is none; with `CI=true` it is an error.
    pub async fn start(self) -> anyhow::Result<Option<Node>> {
        if let Some(obstacle) = programs::obstacle() {
            ensure!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{obstacle}");
            let thread = std::thread::current();
            note(format_args!("{} did not run: {obstacle}", thread.name().unwrap_or("a test")));
            return Ok(None);
        }
        self.boot().await.map(Some)
    }

    async fn boot(self) -> anyhow::Result<Node> {
        let programs = programs().await?;
        let on = Timestamp::now();
        let folder = Folder::create(&format!("{}-node", self.name))?;
        let network = Arc::new(Network::start(folder.path()).await?);
        let services = Services {
            programs,
            dir: folder.path().to_path_buf(),
            name: format!("{}-node", self.name),
            address: network.node(),
            sync_frequency: self.sync_frequency,
        };
        let mut builder = Cluster::builder(&self.name).inside(network.clone());
        if self.audit_log {
            builder = builder.audit_log();
        }
        let power_on = async {
            let (machine, containerd) = power_on(&services, &network).await?;
            for archive in images::write(&services.dir, binaries().await?)? {
                load(&services, &machine, &archive)?;
            }
            Ok((machine, containerd))
        };
        let (cluster, (machine, containerd)) = try_join!(builder.start(), power_on)?;
        let rights = serde_json::from_value(Services::coredns_rights())?;
        Api::<ClusterRoleBinding>::all(cluster.client()).create(&PostParams::default(), &rights).await?;
        let beside = |name: &str, command: Command| {
            Process::spawn(name, &network.command(&command), folder.join(&format!("{name}.log")))
        };
        let scheduler = beside("kube-scheduler", services.scheduler(&cluster)?)?;
        let coredns = beside("coredns", services.coredns(&cluster)?)?;
        let groups = Groups::make(network.number())?;
        let running = Mutex::new(run(&services, &cluster, &network, &groups, machine, containerd)?);
        let node = Node { running, scheduler, coredns, groups, cluster, network, services, folder };
        node.ready(on).await?;
        Ok(node)
    }
}

impl Deref for Node {
    type Target = Cluster;

    /// The cluster that it is the node of.
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Node {
    /// Whether a node can run on this machine.
    pub(crate) fn is_possible() -> bool {
        programs::obstacle().is_none()
    }

    /// Prepares a cluster with a node; the name is the cluster's.
    pub fn builder(name: &str) -> NodeBuilder {
        NodeBuilder { name: name.to_owned(), sync_frequency: "1m".to_owned(), audit_log: false }
    }

    /// The address under which pods reach this machine, for a source that is to listen there.
    pub fn host(&self) -> Ipv4Addr {
        self.network.host()
    }

    /// Puts an image archive into the node, where pods find it.
    pub fn load(&self, archive: &Path) -> anyhow::Result<()> {
        load(&self.services, &self.running().machine, archive)
    }

    /// Runs a program of this machine as root in the node, beside its pods, and gives its stdout.
    pub fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<String> {
        let program = programs::find(program).with_context(|| format!("there is no {program}"))?;
        output(&mut self.running().machine.command(Command::new(program).args(args)))
    }

    /// The processes of the node, in its pods or beside them, that run a program of this name; their ids
    /// are those that [`Node::run`] knows.
    pub fn processes(&self, program: &str) -> anyhow::Result<Vec<String>> {
        let each = "for process in /proc/[0-9]*; do
            read -r name < $process/comm && [ \"$name\" = \"$0\" ] && echo ${process#/proc/}
        done 2>/dev/null; true";
        Ok(self.run("sh", &["-c", each, program])?.lines().map(str::to_owned).collect())
    }

    /// What all pods on the node have mounted from Secrets under this key.
    pub fn mounted(&self, key: &str) -> anyhow::Result<Vec<String>> {
        let volumes = self.folder.join("kubelet/pods");
        let files = format!("{}/*/volumes/kubernetes.io~secret/*/{key}", volumes.display());
        let encoded =
            self.run("sh", &["-c", &format!("for file in {files}; do base64 -w0 $file; echo; done")])?;
        let decode = |line: &str| Ok(String::from_utf8(BASE64_STANDARD.decode(line)?)?);
        encoded.lines().map(decode).collect()
    }

    /// Gives an image that the node has another name.
    pub fn tag(&self, image: &str, other: &str) -> anyhow::Result<()> {
        let ctr =
            services::ctr(&self.services.programs.containerd, &["images", "tag", "--force", image, other]);
        output(&mut self.running().machine.command(&ctr)).map(drop)
    }

    /// The logs of all pods, and of their containers' earlier lives: (file, content).
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

    /// Takes the power away, and brings it back: all pods are killed at once, and what the node kept in
    /// memory is lost. The control plane lives elsewhere, and goes on.
    pub async fn reboot(&self) -> anyhow::Result<()> {
        let off = Timestamp::now();
        {
            let running = self.running();
            running.machine.stop();
            running.processes().into_iter().for_each(Process::kill);
        }
        self.network.clear()?;
        let (machine, containerd) = power_on(&self.services, &self.network).await?;
        *self.running() =
            run(&self.services, &self.cluster, &self.network, &self.groups, machine, containerd)?;
        self.ready(off).await
    }

    /// Waits until the kubelet says, and has said since then, that the node is ready.
    async fn ready(&self, since: Timestamp) -> anyhow::Result<()> {
        let nodes = Api::<NodeObject>::all(self.cluster.client());
        try_eventually(READY, format!("node {} to be ready", self.services.name), async || {
            let beside = [&self.scheduler, &self.coredns];
            self.running().processes().into_iter().chain(beside).try_for_each(Process::check)?;
            let node = nodes.get(&self.services.name).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
            let ready = ready.context("no condition yet")?;
            let is_new = ready.last_heartbeat_time.as_ref().is_some_and(|time| time.0 >= since);
            ensure!(
                ready.status == "True" && is_new,
                "{:?}, last heard {:?}",
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

/// A machine with containerd on it, which keeps its images when the power is cut.
async fn power_on(services: &Services, network: &Network) -> anyhow::Result<(Machine, Process)> {
    let machine = Machine::start(&services.dir, network).await?;
    let command = machine.command(&services.containerd()?);
    let containerd = Process::spawn("containerd", &command, services.dir.join("containerd.log"))?;
    try_eventually(READY, "containerd", async || {
        containerd.check()?;
        output(&mut machine.command(&services::ctr(&services.programs.containerd, &["version"])))
    })
    .await?;
    Ok((machine, containerd))
}

fn run(
    services: &Services,
    cluster: &Cluster,
    network: &Network,
    groups: &Groups,
    machine: Machine,
    containerd: Process,
) -> anyhow::Result<Running> {
    let log = |name: &str| services.dir.join(format!("{name}.log"));
    let kubelet = machine.command(&services.kubelet(cluster, &groups.path())?);
    let kubelet = Process::spawn("kubelet", &kubelet, log("kubelet"))?;
    let kube_proxy = network.command(&services.kube_proxy(cluster)?);
    let kube_proxy = Process::spawn("kube-proxy", &kube_proxy, log("kube-proxy"))?;
    Ok(Running { machine, containerd, kubelet, kube_proxy })
}

fn load(services: &Services, machine: &Machine, archive: &Path) -> anyhow::Result<()> {
    let ctr = services::ctr(&services.programs.containerd, &["images", "import", "-"]);
    let file = File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    let mut command = machine.command(&ctr);
    command.stdin(Stdio::from(file));
    output(&mut command).with_context(|| format!("importing {}", archive.display())).map(drop)
}
