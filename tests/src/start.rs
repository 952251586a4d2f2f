//! Starts a cluster.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::Kubeconfig;
use kube::{Api, Client};

use crate::binaries::binaries;
use crate::cluster::Cluster;
use crate::components::{Components, KUBELET_CLIENT};
use crate::folder::Folder;
use crate::node::Network;
use crate::pki::Pki;
use crate::ports::Port;
use crate::process::Process;
use crate::ready::{wait_for, wait_until_ready};
use crate::{audit, kubeconfig};

/// The options of a cluster, from [`Cluster::builder`].
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    name: String,
    audit_log: bool,
    api_server_args: Vec<String>,
    address: Ipv4Addr,
    network: Option<Arc<Network>>,
}

impl Cluster {
    /// Starts a cluster with the default options.
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        Self::builder(name).start().await
    }

    /// The options of a new cluster. Its name is also the name of its context, and part of its token issuer.
    pub fn builder(name: &str) -> ClusterBuilder {
        ClusterBuilder::new(name)
    }
}

impl ClusterBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            audit_log: false,
            api_server_args: Vec::new(),
            address: Ipv4Addr::LOCALHOST,
            network: None,
        }
    }

    /// Adds a flag of kube-apiserver, `--name=value`. It overrides the default.
    #[must_use]
    pub fn api_server_arg(mut self, arg: impl Into<String>) -> Self {
        self.api_server_args.push(arg.into());
        self
    }

    /// Sets the address that the API server listens on, which pods of a [`Node`](crate::Node) can reach. The default is
    /// 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: Ipv4Addr) -> Self {
        self.address = address;
        self
    }

    /// Runs the cluster in a network namespace, as the control plane of the node there.
    #[must_use]
    pub(crate) fn network(mut self, network: Arc<Network>) -> Self {
        self.address = network.node_address();
        self.network = Some(network);
        self
    }

    /// Makes the API server log each request, for [`Cluster::audit_events`].
    #[must_use]
    pub fn audit_log(mut self) -> Self {
        self.audit_log = true;
        self
    }

    /// Starts the cluster, and waits until the API server is ready and pods can be created in the namespace `default`.
    pub async fn start(self) -> anyhow::Result<Cluster> {
        crate::init();
        ensure!(
            !self.name.is_empty()
                && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)),
            "{:?} is not a valid name for a cluster: use only letters, digits, `-` and `.`",
            self.name
        );
        for _ in 0..2 {
            match self.try_start().await {
                Err(error) if is_port_taken(&error) => continue,
                other => return other,
            }
        }
        self.try_start().await
    }

    async fn try_start(&self) -> anyhow::Result<Cluster> {
        let binaries = binaries().await?;
        let name = self.name.clone();
        // Generating keys would block a single-threaded runtime for too long.
        let address = self.address;
        let pki = tokio::task::spawn_blocking(move || Pki::new(&name, address)).await??;
        let folder = Folder::create(&self.name)?;
        let ports = [Port::reserve()?, Port::reserve()?];
        let components = Components {
            binaries,
            dir: folder.path().to_path_buf(),
            kubeconfig: folder.join("kubeconfig"),
            address,
            network: self.network.clone(),
            api_server_port: ports[0].number,
            etcd_port: ports[1].number,
            issuer: format!("https://{}.example", self.name),
            audit_log: self.audit_log,
            api_server_args: self.api_server_args.clone(),
        };
        let kubeconfig = write_files(&components, &pki, &self.name)?;
        let client = kubeconfig::client(kubeconfig.clone())?;
        match boot(&components, &client).await {
            Ok([etcd, api_server, controller_manager]) => Ok(Cluster {
                controller_manager: Mutex::new(Arc::new(controller_manager)),
                api_server: Mutex::new(Arc::new(api_server)),
                etcd: Arc::new(etcd),
                components,
                name: self.name.clone(),
                authority: pki.authority(),
                pki,
                kubeconfig,
                folder,
                _ports: ports,
            }),
            Err(error) => Err(error.context(format!("starting cluster {}", self.name))),
        }
    }
}

/// The API server retries until etcd responds, so both start at once.
async fn boot(components: &Components, client: &Client) -> anyhow::Result<[Process; 3]> {
    let etcd = components.spawn_etcd()?;
    let api_server = components.spawn_api_server()?;
    wait_until_ready(&[&etcd, &api_server], client).await?;
    let controller_manager = components.spawn_controller_manager()?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    wait_for("the default service account exists", &[&etcd, &api_server, &controller_manager], async || {
        accounts.get("default").await
    })
    .await?;
    Ok([etcd, api_server, controller_manager])
}

/// Writes the files that the components read, and returns the admin's kubeconfig.
fn write_files(components: &Components, pki: &Pki, name: &str) -> anyhow::Result<Kubeconfig> {
    let write = |file: &str, content: &str| {
        let path = components.dir.join(file);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    };
    write("ca.crt", &pki.authority())?;
    write("ca.key", &pki.authority_key())?;
    write("apiserver.crt", &pki.api_server.certificate)?;
    write("apiserver.key", &pki.api_server.key)?;
    write("sa.key", &pki.service_account_key)?;
    let kubelet_client = pki.client(KUBELET_CLIENT, Some("system:masters"))?;
    write("kubelet-client.crt", &kubelet_client.certificate)?;
    write("kubelet-client.key", &kubelet_client.key)?;
    write("audit-policy.yaml", audit::POLICY)?;
    let kubeconfig = |user: &str, group| {
        let identity = pki.client(user, group)?;
        kubeconfig::kubeconfig(name, &components.server(), &pki.authority(), &identity)
    };
    let manager = kubeconfig("system:kube-controller-manager", None)?;
    kubeconfig::write(&manager, &components.dir.join("controller-manager.kubeconfig"))?;
    let admin = kubeconfig("admin", Some("system:masters"))?;
    kubeconfig::write(&admin, &components.kubeconfig)?;
    Ok(admin)
}

/// Whether another program uses a port: reservations exclude only other tests.
fn is_port_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("address already in use")
}
