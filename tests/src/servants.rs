//! Importer and webhook, as processes beside a target that has no nodes.

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

/// The processes that serve a target.
#[derive(Debug)]
pub struct Servants {
    /// The importer.
    pub importer: Process,
    /// The webhook, which the API server calls by URL.
    pub webhook: Process,
    _port: Port,
}

impl Servants {
    /// Starts both, each as its own service account, with the rights that it was installed with; with
    /// their logs in `folder` and what is logged as for `RUST_LOG`. Waits until they serve.
    ///
    /// In [`Cluster::dir`], the logs stay when the cluster is gone.
    pub async fn start(target: &Cluster, folder: &Path, log: &str) -> anyhow::Result<Self> {
        let port = Port::reserve()?;
        let address = format!("127.0.0.1:{}", port.number);
        let url = format!("https://{address}{}", webhook::PATH);
        let spawn = async |service_account: &str, args: &[&str]| {
            let name = format!("mcsa-{service_account}");
            let kubeconfig = target.kubeconfig_of(SYSTEM_NAMESPACE, service_account).await?;
            let mut command = Command::new(program(&name)?);
            command.arg("--kubeconfig").arg(kubeconfig).arg("--log").arg(log).args(args);
            Process::spawn(&name, &command, unused(folder, &name))
        };
        let servants = Self {
            // A short lease: the next importer waits for it when this one is killed.
            importer: spawn("importer", &["--probe-address", "127.0.0.1:0", "--lease-duration", "3"]).await?,
            // No Service before it, from which it would have to be taken first.
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
        eventually("importer and webhook serve", async || servants.serve(target, &url).await).await;
        Ok(servants)
    }

    /// Leaves both running when this process ends; returns a shell command line that ends them.
    pub fn keep(&self) -> anyhow::Result<String> {
        self.importer.keep()?;
        self.webhook.keep()?;
        Ok(format!("kill {} {}", self.importer.id(), self.webhook.id()))
    }

    async fn serve(&self, target: &Cluster, url: &str) -> anyhow::Result<()> {
        self.importer.check()?;
        self.webhook.get("/readyz").await?;
        ensure!(
            self.importer.log().contains("leading"),
            "the importer does not lead: {}",
            self.importer.log()
        );
        let configurations = Api::<MutatingWebhookConfiguration>::all(target.client());
        let configuration = configurations.get(webhook::CONFIGURATION).await?;
        let entry = configuration.webhooks.iter().flatten().next().context("no webhook in it")?;
        let client = &entry.client_config;
        ensure!(
            client.url.as_deref() == Some(url) && client.ca_bundle.is_some(),
            "not registered: {client:?}"
        );
        Ok(())
    }
}

/// A log of its own for each start: who looks for `ready` does not find that of the one before.
fn unused(folder: &Path, name: &str) -> PathBuf {
    let again = (2..).map(|count| format!("{name}-{count}.log"));
    let mut paths = std::iter::once(format!("{name}.log")).chain(again).map(|file| folder.join(file));
    paths.find(|path| !path.exists()).unwrap_or_else(|| folder.join(name))
}
