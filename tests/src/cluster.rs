//! A control plane for tests.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use kube::Client;
use kube::config::Kubeconfig;

use crate::audit::{self, AuditEvent};
use crate::components::Components;
use crate::folder::Folder;
use crate::pki::Pki;
use crate::ports::Port;
use crate::process::Process;
use crate::{kubeconfig, kubectl, ready};

/// A running etcd, API server and controller manager. There are no nodes and no scheduler: pods can be
/// created, and stay pending.
///
/// When this value is dropped, or this process ends for any reason, everything except the logs is removed. Logs are
/// kept for an hour; the test prints their folder to stderr when it starts the cluster.
///
/// Some delays of Kubernetes can't be shortened by flags: a deleted namespace is emptied after 5 s at the earliest, a
/// revoked token is rejected after up to 10 s, and the garbage collector discovers a new CRD after up to 30 s (see
/// [`Cluster::restart_controller_manager`]).
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: processes that write to the folder end before it is emptied.
    pub(crate) controller_manager: Mutex<Arc<Process>>,
    pub(crate) api_server: Mutex<Arc<Process>>,
    pub(crate) etcd: Arc<Process>,
    pub(crate) components: Components,
    pub(crate) name: String,
    pub(crate) authority: String,
    pub(crate) pki: Pki,
    pub(crate) kubeconfig: Kubeconfig,
    pub(crate) folder: Folder,
    pub(crate) _ports: [Port; 2],
}

/// A cluster that outlives this process, from [`Cluster::keep`].
#[derive(Clone, Debug)]
pub struct KeptCluster {
    /// The admin's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The cluster's folder.
    pub dir: PathBuf,
    /// The process IDs of its components. The file `pids` in `dir` lists them, too.
    pub pids: Vec<u32>,
    /// A shell command line that stops the cluster and removes its folder.
    pub stop_command: String,
}

impl Cluster {
    /// The cluster's name, which is also the name of its context, cluster and user in kubeconfigs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API server's address, `https://<address>:<port>`.
    pub fn server(&self) -> String {
        self.components.server()
    }

    /// The API server's port on 127.0.0.1, which is reserved until the cluster is dropped.
    pub fn port(&self) -> u16 {
        self.components.api_server_port
    }

    /// The certificate authority of the API server and of client certificates.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// The file with the admin's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.components.kubeconfig
    }

    /// The admin's kubeconfig.
    pub fn kubeconfig_value(&self) -> Kubeconfig {
        self.kubeconfig.clone()
    }

    /// The folder with the logs and keys of this cluster. Tests can add files, even secret ones: when the cluster is
    /// dropped, only files named `*.log` and `*.jsonl` are kept.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The process IDs of etcd, the API server and the controller manager.
    pub fn pids(&self) -> [u32; 3] {
        self.processes().map(|process| process.id())
    }

    /// The API server's process.
    pub fn api_server(&self) -> Arc<Process> {
        lock(&self.api_server).clone()
    }

    /// The controller manager's process.
    pub fn controller_manager(&self) -> Arc<Process> {
        lock(&self.controller_manager).clone()
    }

    /// A new client for the admin, without a rate limit.
    ///
    /// Each call creates a client, because connections belong to an async runtime, and each `#[tokio::test]` has its
    /// own.
    pub fn client(&self) -> Client {
        kubeconfig::client(self.kubeconfig_value()).expect("the kubeconfig is our own")
    }

    /// Writes a kubeconfig for a service account of this cluster, valid for a day. Its names of context and cluster
    /// are those of the admin's kubeconfig.
    pub async fn kubeconfig_of(&self, namespace: &str, service_account: &str) -> anyhow::Result<PathBuf> {
        let token = self
            .kubectl(["-n", namespace, "create", "token", service_account, "--duration=24h"])
            .await
            .with_context(|| format!("minting a token of {namespace}/{service_account}"))?;
        let path = self.dir().join(format!("{namespace}.{service_account}.kubeconfig"));
        kubeconfig::write(&kubeconfig::with_token(self.kubeconfig_value(), token.trim()), &path)?;
        Ok(path)
    }

    /// A new client for a service account of this cluster.
    pub async fn client_of(&self, namespace: &str, service_account: &str) -> anyhow::Result<Client> {
        let kubeconfig = self.kubeconfig_of(namespace, service_account).await?;
        kubeconfig::client(Kubeconfig::read_from(kubeconfig)?)
    }

    /// Runs kubectl as the admin, and returns its stdout.
    pub async fn kubectl<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<String> {
        kubectl::kubectl(self.kubeconfig(), args).await
    }

    /// All requests so far. Needs [`ClusterBuilder::audit_log`](crate::ClusterBuilder::audit_log).
    pub fn audit_events(&self) -> anyhow::Result<Vec<AuditEvent>> {
        audit::read(&self.components.audit_log_path())
    }

    /// Kills the API server, as a crash does. etcd keeps the data.
    pub fn stop_api_server(&self) {
        self.api_server().kill();
    }

    /// Restarts the API server with the same address and data, and waits until it is ready.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        self.stop_api_server();
        *lock(&self.api_server) = Arc::new(self.components.spawn_api_server()?);
        ready::wait_until_ready(&[&self.etcd, &self.api_server()], &self.client()).await
    }

    /// Restarts the controller manager. Its garbage collector discovers new CRDs only every 30 s, and at start.
    pub fn restart_controller_manager(&self) -> anyhow::Result<()> {
        let mut current = lock(&self.controller_manager);
        current.kill();
        *current = Arc::new(self.components.spawn_controller_manager()?);
        Ok(())
    }

    /// Keeps the cluster running when this process ends, until the user runs `stop_command`.
    pub fn keep(mut self) -> anyhow::Result<KeptCluster> {
        for process in self.processes() {
            process.keep()?;
        }
        let pids = self.pids().to_vec();
        let words: Vec<_> = pids.iter().map(ToString::to_string).collect();
        let kubeconfig = self.kubeconfig().to_path_buf();
        let dir = self.folder.keep()?;
        fs::write(dir.join("pids"), words.join("\n") + "\n")?;
        let quoted = dir.display().to_string().replace('\'', r"'\''");
        let stop_command = format!("kill -9 {}; rm -rf '{quoted}'", words.join(" "));
        Ok(KeptCluster { kubeconfig, dir, pids, stop_command })
    }

    fn processes(&self) -> [Arc<Process>; 3] {
        [self.etcd.clone(), self.api_server(), self.controller_manager()]
    }
}

fn lock(process: &Mutex<Arc<Process>>) -> MutexGuard<'_, Arc<Process>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}
