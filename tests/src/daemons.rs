//! Importer and webhook as processes, for a target without nodes.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};
use serde_json::json;

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
    /// Where the API server calls the webhook, `<host>:<port>`.
    address: String,
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
        // A short lease: when this importer is killed, the next one waits until it expires.
        let importer = spawn("importer", target, folder, log, &["--lease-duration", "3"]).await?;
        let webhook = spawn_webhook(target, folder, log, &address, &[]).await?;
        let daemons = Self { importer, webhook, address, _port: port };
        daemons.wait_until_ready(target).await;
        Ok(daemons)
    }

    /// Kills the webhook, and starts it again with additional flags. The rest is as for [`Daemons::start`].
    pub async fn restart_webhook(
        &mut self,
        target: &Cluster,
        folder: &Path,
        log: &str,
        flags: &[String],
    ) -> anyhow::Result<()> {
        self.webhook.kill();
        self.webhook = spawn_webhook(target, folder, log, &self.address, flags).await?;
        self.wait_until_ready(target).await;
        Ok(())
    }

    /// Keeps both running when this process ends. Returns a shell command line that stops them.
    pub fn keep(&self) -> anyhow::Result<String> {
        self.importer.keep()?;
        self.webhook.keep()?;
        Ok(format!("kill {} {}", self.importer.id(), self.webhook.id()))
    }

    async fn wait_until_ready(&self, target: &Cluster) {
        eventually("importer and webhook are ready", async || self.ensure_ready(target).await).await;
    }

    async fn ensure_ready(&self, target: &Cluster) -> anyhow::Result<()> {
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
            client.url == Some(url(&self.address)) && client.ca_bundle.is_some(),
            "the webhook is not registered: {client:?}"
        );
        Ok(())
    }
}

/// Makes the API server call the webhook by this URL instead of its Service, as an administrator. The admission policy
/// refuses this change by the webhook itself.
pub async fn set_webhook_url(target: &Cluster, url: &str) -> anyhow::Result<()> {
    let configurations = Api::<MutatingWebhookConfiguration>::all(target.client());
    let entry = |name: &str| json!({ "name": name, "clientConfig": { "service": null, "url": url } });
    // This patch merges entries by name, and keeps their CA bundles.
    let patch = Patch::Strategic(json!({ "webhooks": webhook::ENTRIES.map(entry) }));
    configurations.patch(webhook::CONFIGURATION, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn spawn_webhook(
    target: &Cluster,
    folder: &Path,
    log: &str,
    address: &str,
    flags: &[String],
) -> anyhow::Result<Process> {
    let url = url(address);
    set_webhook_url(target, &url).await?;
    // No shutdown delay: no Service routes requests to it.
    let args = ["--listen", address, "--url", &url, "--shutdown-delay", "0"];
    let args: Vec<_> = args.into_iter().chain(flags.iter().map(String::as_str)).collect();
    spawn("webhook", target, folder, log, &args).await
}

async fn spawn(
    service_account: &str,
    target: &Cluster,
    folder: &Path,
    log: &str,
    args: &[&str],
) -> anyhow::Result<Process> {
    let name = format!("mcsa-{service_account}");
    let kubeconfig = target.kubeconfig_of(SYSTEM_NAMESPACE, service_account).await?;
    let mut command = Command::new(program(&name)?);
    command.arg("--kubeconfig").arg(kubeconfig).args(["--log", log, "--probe-address", "127.0.0.1:0"]);
    Process::spawn(&name, command.args(args), unused_log(folder, &name))
}

fn url(address: &str) -> String {
    format!("https://{address}{}", webhook::PATH)
}

/// A new log for each start, so that tests don't find lines of an earlier run.
fn unused_log(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|count| format!("{name}-{count}.log"));
    let mut paths = std::iter::once(format!("{name}.log")).chain(numbered).map(|file| folder.join(file));
    paths.find(|path| !path.exists()).unwrap_or_else(|| folder.join(name))
}
