//! The command lines of a cluster's three programs.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::binaries::Binaries;
use crate::node::Network;
use crate::process::Process;

/// The user as which the API server calls kubelets and other API servers.
pub(crate) const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";

/// The settings that the programs of a cluster share.
#[derive(Debug)]
pub(crate) struct Components {
    pub(crate) binaries: &'static Binaries,
    pub(crate) dir: PathBuf,
    /// The file of the admin's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// The address that the API server listens on.
    pub(crate) address: Ipv4Addr,
    /// The network namespace that the programs run in. `None`: this machine's.
    pub(crate) network: Option<Arc<Network>>,
    pub(crate) etcd_port: u16,
    pub(crate) api_server_port: u16,
    /// The issuer of the cluster's tokens, which differs between clusters.
    pub(crate) issuer: String,
    pub(crate) audit_log: bool,
    pub(crate) api_server_args: Vec<String>,
}

impl Components {
    /// The address of the API server.
    pub(crate) fn server(&self) -> String {
        format!("https://{}:{}", self.address, self.api_server_port)
    }

    pub(crate) fn audit_log_path(&self) -> PathBuf {
        self.dir.join("audit.jsonl")
    }

    /// The supervisor removes etcd's data, which is much larger than the logs that are kept.
    pub(crate) fn spawn_etcd(&self) -> anyhow::Result<Process> {
        let data = self.dir.join("etcd");
        self.spawn("etcd", &self.etcd(), data.as_os_str())
    }

    pub(crate) fn spawn_api_server(&self) -> anyhow::Result<Process> {
        self.spawn("kube-apiserver", &self.api_server(), OsStr::new(""))
    }

    pub(crate) fn spawn_controller_manager(&self) -> anyhow::Result<Process> {
        self.spawn("kube-controller-manager", &self.controller_manager(), OsStr::new(""))
    }

    fn spawn(&self, name: &str, command: &Command, leftovers: &OsStr) -> anyhow::Result<Process> {
        let log = self.dir.join(format!("{name}.log"));
        let in_network = self.network.as_ref().map(|network| network.command(command));
        Process::spawn_with_leftovers(name.to_owned(), in_network.as_ref().unwrap_or(command), log, leftovers)
    }

    fn etcd(&self) -> Command {
        let clients = format!("http://127.0.0.1:{}", self.etcd_port);
        let mut etcd = Command::new(&self.binaries.etcd);
        etcd.arg("--data-dir").arg(self.dir.join("etcd"));
        etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        // There are no peers. Port 0 selects any free port.
        etcd.args(["--listen-peer-urls", "http://127.0.0.1:0"]);
        etcd.args(["--unsafe-no-fsync", "--log-level", "warn"]);
        etcd
    }

    fn api_server(&self) -> Command {
        let mut server = Command::new(&self.binaries.kube_apiserver);
        server.args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.api_server_port),
            format!("--bind-address={}", self.address),
            format!("--advertise-address={}", self.address),
            // The default reconciler refuses to publish a loopback address.
            format!(
                "--endpoint-reconciler-type={}",
                if self.address.is_loopback() { "none" } else { "lease" }
            ),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged".to_owned(),
            format!("--service-account-issuer={}", self.issuer),
            self.file("--client-ca-file", "ca.crt"),
            self.file("--tls-cert-file", "apiserver.crt"),
            self.file("--tls-private-key-file", "apiserver.key"),
            // For kubectl logs and kubectl exec.
            self.file("--kubelet-client-certificate", "kubelet-client.crt"),
            self.file("--kubelet-client-key", "kubelet-client.key"),
            self.file("--kubelet-certificate-authority", "ca.crt"),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            // For the metrics API, which another server serves: it trusts the headers of this client.
            self.file("--requestheader-client-ca-file", "ca.crt"),
            format!("--requestheader-allowed-names={}", KUBELET_CLIENT),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            self.file("--proxy-client-cert-file", "kubelet-client.crt"),
            self.file("--proxy-client-key-file", "kubelet-client.key"),
            self.file("--service-account-key-file", "sa.key"),
            self.file("--service-account-signing-key-file", "sa.key"),
        ]);
        if self.audit_log {
            server.args([
                self.file("--audit-policy-file", "audit-policy.yaml"),
                self.file("--audit-log-path", "audit.jsonl"),
            ]);
        }
        server.args(&self.api_server_args);
        server
    }

    fn controller_manager(&self) -> Command {
        let mut manager = Command::new(&self.binaries.kube_controller_manager);
        manager.args([
            self.file("--kubeconfig", "controller-manager.kubeconfig"),
            self.file("--service-account-private-key-file", "sa.key"),
            self.file("--root-ca-file", "ca.crt"),
            self.file("--cluster-signing-cert-file", "ca.crt"),
            self.file("--cluster-signing-key-file", "ca.key"),
            "--use-service-account-credentials".to_owned(),
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            // Tests wait for controllers, so their rate limit must not delay them.
            "--kube-api-qps=1000".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ]);
        manager
    }

    fn file(&self, flag: &str, name: &str) -> String {
        format!("{flag}={}", self.dir.join(name).display())
    }
}
