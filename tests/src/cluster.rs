//! A control plane of its own for each test that asks for one.

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
/// Dropped, or when this process ends in whatever way, all of it is gone but the logs, which stay for
/// an hour. A test says on stderr where they are, when it starts the cluster.
///
/// Some waits are Kubernetes' own and no flag shortens them: a namespace is emptied 5 s after its
/// deletion at the earliest, a token that was revoked is refused after up to 10 s, and the garbage
/// collector sees a new CRD after up to 30 s (see [`Cluster::restart_controller_manager`]).
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: whoever writes to the folder is gone before the folder is emptied.
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

/// A cluster that outlives this process; see [`Cluster::keep`].
#[derive(Clone, Debug)]
pub struct Kept {
    /// The admin's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The cluster's folder.
    pub dir: PathBuf,
    /// The processes of its components, also in the file `pids` in `dir`.
    pub pids: Vec<u32>,
    /// A shell command line that stops the cluster and removes its folder.
    pub stop_command: String,
}

impl Cluster {
    /// The cluster's name, and that of its context, cluster and user in kubeconfigs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API server's address, `https://<address>:<port>`.
    pub fn server(&self) -> String {
        self.components.server()
    }

    /// The API server's port on 127.0.0.1; the cluster's as long as it lives.
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

    /// The folder with the logs and keys of this cluster, and a place for what else there is to log or
    /// to keep secret: of a cluster that is gone, only files `*.log` and `*.jsonl` are left.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The process ids of etcd, the API server and the controller manager.
    pub fn pids(&self) -> [u32; 3] {
        self.processes().map(|process| process.id())
    }

    /// The API server's process, to suspend it, or to read its log.
    pub fn api_server(&self) -> Arc<Process> {
        lock(&self.api_server).clone()
    }

    /// The controller manager's process, to suspend it, or to read its log.
    pub fn controller_manager(&self) -> Arc<Process> {
        lock(&self.controller_manager).clone()
    }

    /// A new client for the admin, outside of any rate limit.
    ///
    /// New at each call: a client's connections belong to the async runtime that it was made in, and
    /// each `#[tokio::test]` has its own.
    pub fn client(&self) -> Client {
        kubeconfig::client(self.kubeconfig_value()).expect("the kubeconfig is our own")
    }

    /// Writes a kubeconfig with which one acts as a service account of this cluster, for a day. Context
    /// and cluster are named as in the admin's.
    pub async fn kubeconfig_of(&self, namespace: &str, service_account: &str) -> anyhow::Result<PathBuf> {
        let token = self
            .kubectl(["-n", namespace, "create", "token", service_account, "--duration=24h"])
            .await
            .with_context(|| format!("minting a token of {namespace}/{service_account}"))?;
        let path = self.dir().join(format!("{namespace}.{service_account}.kubeconfig"));
        kubeconfig::write(&kubeconfig::with_token(self.kubeconfig_value(), token.trim()), &path)?;
        Ok(path)
    }

    /// A new client for a service account of this cluster, with the rights that it has.
    pub async fn client_of(&self, namespace: &str, service_account: &str) -> anyhow::Result<Client> {
        let kubeconfig = self.kubeconfig_of(namespace, service_account).await?;
        kubeconfig::client(Kubeconfig::read_from(kubeconfig)?)
    }

    /// Runs kubectl as the admin, and gives its stdout.
    pub async fn kubectl<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<String> {
        kubectl::kubectl(self.kubeconfig(), args).await
    }

    /// The requests so far, of a cluster that was built with [`ClusterBuilder::audit_log`](crate::ClusterBuilder::audit_log).
    pub fn audit_events(&self) -> anyhow::Result<Vec<AuditEvent>> {
        audit::read(&self.components.audit_log_path())
    }

    /// Takes the API server away at once, as a crash would; etcd keeps the data.
    pub fn stop_api_server(&self) {
        self.api_server().kill();
    }

    /// Brings the API server back, with the same address and data, and waits until it is ready.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        self.stop_api_server();
        *lock(&self.api_server) = Arc::new(self.components.spawn_api_server()?);
        ready::wait_until_ready(&[&self.etcd, &self.api_server()], &self.client()).await
    }

    /// Starts the controller manager anew. Its garbage collector then knows all CRDs that exist by
    /// now, where it would look for new ones every 30 s only.
    pub fn restart_controller_manager(&self) -> anyhow::Result<()> {
        let mut current = lock(&self.controller_manager);
        current.kill();
        *current = Arc::new(self.components.spawn_controller_manager()?);
        Ok(())
    }

    /// Leaves the cluster running when this process ends, until `stop_command` is run.
    pub fn keep(mut self) -> anyhow::Result<Kept> {
        for process in self.processes() {
            process.keep()?;
        }
        let pids = self.pids().to_vec();
        let words: Vec<_> = pids.iter().map(ToString::to_string).collect();
        let kubeconfig = self.kubeconfig().to_path_buf();
        let dir = self.folder.hand_over()?;
        fs::write(dir.join("pids"), words.join("\n") + "\n")?;
        let quoted = dir.display().to_string().replace('\'', r"'\''");
        let stop_command = format!("kill -9 {}; rm -rf '{quoted}'", words.join(" "));
        Ok(Kept { kubeconfig, dir, pids, stop_command })
    }

    fn processes(&self) -> [Arc<Process>; 3] {
        [self.etcd.clone(), self.api_server(), self.controller_manager()]
    }
}

fn lock(process: &Mutex<Arc<Process>>) -> MutexGuard<'_, Arc<Process>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}
