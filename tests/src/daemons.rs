//! Importer and webhook as processes, for a target without nodes.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::program;

/// Importer and webhook of a target.
#[derive(Debug)]
pub struct Daemons {
    /// The importer.
    pub importer: Process,
    /// The webhook, which the API server calls by URL.
    pub webhook: Process,
    _port: Port,
}

impl Daemons {
    /// Starts both with their own service accounts and the rights of the installation, and waits until they are ready.
    /// Their logs are in `folder`; `log` is a filter like `RUST_LOG`.
    ///
    /// Logs in [`Cluster::dir`] are kept when the cluster is removed.
    pub async fn start(target: &Cluster, folder: &Path, log: &str) -> anyhow::Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST, target, folder, log).await
    }

    /// The same, with another address at which the target's API server reaches this machine: for a
    /// [`Node`](crate::Node), it is [`host_address`](crate::Node::host_address).
    pub async fn start_on(
        address: Ipv4Addr,
        target: &Cluster,
        folder: &Path,
        log: &str,
    ) -> anyhow::Result<Self> {
        let port = Port::reserve()?;
        let address = format!("{address}:{}", port.number);
        let url = format!("https://{address}{}", webhook::PATH);
        let spawn = async |service_account: &str, args: &[&str]| {
            let name = format!("mcsa-{service_account}");
            let kubeconfig = target.kubeconfig_of(SYSTEM_NAMESPACE, service_account).await?;
            let mut command = Command::new(program(&name)?);
            command.arg("--kubeconfig").arg(kubeconfig).arg("--log").arg(log).args(args);
            Process::spawn(&name, &command, unused_log(folder, &name))
        };
        let daemons = Self {
            // A short lease: when this importer is killed, the next one waits until it expires.
            importer: spawn("importer", &["--probe-address", "127.0.0.1:0", "--lease-duration", "3"]).await?,
            // No shutdown delay: no Service routes requests to it.
            webhook: spawn(
                "webhook",
                &[
                    "--listen",
                    &address,
                    "--url",
                    &url,
                    "--probe-address",
                    "127.0.0.1:0",
                    "--shutdown-delay",
                    "0",
                ],
            )
            .await?,
            _port: port,
        };
        eventually("importer and webhook are ready", async || daemons.ensure_ready(target, &url).await).await;
        Ok(daemons)
    }

    /// Keeps both running when this process ends. Returns a shell command line that stops them.
    pub fn keep(&self) -> anyhow::Result<String> {
        self.importer.keep()?;
        self.webhook.keep()?;
        Ok(format!("kill {} {}", self.importer.id(), self.webhook.id()))
    }

    async fn ensure_ready(&self, target: &Cluster, url: &str) -> anyhow::Result<()> {
        self.importer.check()?;
        self.webhook.get("/readyz").await?;
        ensure!(
            self.importer.log().contains("leading"),
            "the importer does not lead: {}",
            self.importer.log()
        );
        let configurations = Api::<MutatingWebhookConfiguration>::all(target.client());
        let configuration = configurations.get(webhook::CONFIGURATION).await?;
        let entry =
            configuration.webhooks.iter().flatten().next().context("the configuration has no webhook")?;
        let client = &entry.client_config;
        ensure!(
            client.url.as_deref() == Some(url) && client.ca_bundle.is_some(),
            "the webhook is not registered: {client:?}"
        );
        Ok(())
    }
}

/// A new log for each start, so that tests don't find lines of an earlier run.
fn unused_log(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|count| format!("{name}-{count}.log"));
    let mut paths = std::iter::once(format!("{name}.log")).chain(numbered).map(|file| folder.join(file));
    paths.find(|path| !path.exists()).unwrap_or_else(|| folder.join(name))
}
