//! A cluster with a namespace where the webhook is enabled, and replicas of the webhook as processes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use mcsa_credentials::contract::webhook::{CERTIFICATE, CONFIGURATION, PATH};
use mcsa_credentials::contract::{IMPORT_NAME, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Cluster, Imports, Process, Proxy, eventually, kubemcsa_ok, pod_lister_import, program, set_webhook_url,
    wait_for_default_service_account,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

const NAMESPACE: &str = "reviewed";

/// A target with an import, and a proxy through which the API server calls the webhook.
pub struct Fixture {
    pub cluster: Cluster,
    /// Takes the place of a Service.
    pub proxy: Proxy,
    pub imports: Imports,
    pods: Api<Pod>,
}

/// A running webhook.
pub struct Replica {
    pub process: Process,
    pub address: SocketAddr,
}

impl Fixture {
    pub async fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start("c1").await?;
        kubemcsa_ok(cluster.kubeconfig(), ["install", "--no-wait"])?;
        cluster.kubectl(["create", "namespace", NAMESPACE]).await?;
        cluster.kubectl(["label", "namespace", NAMESPACE, "multicluster-service-account=enabled"]).await?;
        // It never gets a credential; pods that reference it are allowed anyway.
        let imports = Imports::of(cluster.client(), NAMESPACE);
        eventually("an import can be created", async || {
            imports.create(&pod_lister_import("a", "nowhere", "default")).await
        })
        .await;
        wait_for_default_service_account(&cluster, NAMESPACE).await;
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut config = Config::try_from(cluster.kubeconfig_value())?;
        // Retries would hide failed requests.
        config.default_retry = false;
        let pods = Api::namespaced(Client::try_from(config)?, NAMESPACE);
        Ok(Self { proxy: Proxy::start(nobody).await?, cluster, imports, pods })
    }

    /// Starts a replica with `--url` and these flags; the API server calls the replica that was started last.
    pub async fn webhook(&self, name: &str, flags: &[&str]) -> anyhow::Result<Replica> {
        self.webhook_without_url(name, &[&["--url", &self.url()], flags].concat()).await
    }

    /// Like [`Self::webhook`], without `--url`.
    pub async fn webhook_without_url(&self, name: &str, flags: &[&str]) -> anyhow::Result<Replica> {
        let replica = self.replica(name, &self.kubeconfig().await?, flags).await?;
        self.proxy.replace_target(replica.address);
        Ok(replica)
    }

    /// Starts a replica with this kubeconfig; the API server does not call it yet.
    pub async fn replica(&self, name: &str, kubeconfig: &Path, flags: &[&str]) -> anyhow::Result<Replica> {
        if flags.contains(&"--url") {
            set_webhook_url(&self.cluster, &self.url()).await?;
        }
        let mut command = Command::new(program("mcsa-webhook")?);
        command.arg("--kubeconfig").arg(kubeconfig).args(["--log", "trace", "--listen", "127.0.0.1:0"]);
        command.args(["--probe-address", "127.0.0.1:0"]).args(flags);
        let log = self.cluster.dir().join(format!("{name}.log"));
        let process = Process::spawn(name, &command, log)?;
        let address = eventually("the webhook listens", async || process.logged_address("listening")).await;
        Ok(Replica { process, address })
    }

    /// A kubeconfig with the rights of the webhook.
    pub async fn kubeconfig(&self) -> anyhow::Result<PathBuf> {
        self.cluster.kubeconfig_of(SYSTEM_NAMESPACE, "webhook").await
    }

    pub fn url(&self) -> String {
        self.proxy.url() + PATH
    }

    /// Creates a pod that references the import `a`, as a dry run.
    pub async fn review(&self) -> anyhow::Result<()> {
        self.review_of("a").await
    }

    /// Creates a pod that references this import, as a dry run.
    pub async fn review_of(&self, import: &str) -> anyhow::Result<()> {
        let params = PostParams { dry_run: true, ..Default::default() };
        let pod = json!({
            "metadata": { "generateName": "p-", "annotations": { IMPORT_NAME: import } },
            "spec": { "containers": [{ "name": "main", "image": "none" }] },
        });
        let stored = self.pods.create(&params, &serde_json::from_value(pod)?).await?;
        let volumes = stored.spec.and_then(|spec| spec.volumes).unwrap_or_default();
        ensure!(volumes.iter().any(|volume| volume.name.starts_with("sai-")), "nothing is mounted");
        Ok(())
    }

    /// Waits until the webhook reviews pods.
    pub async fn reviews_pods(&self) {
        eventually("pods are reviewed", async || self.review().await).await;
    }

    pub fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.cluster.client())
    }

    /// The CA bundle of each entry.
    pub async fn bundles(&self) -> anyhow::Result<Vec<String>> {
        let configuration = self.configurations().get(CONFIGURATION).await?;
        let entries = configuration.webhooks.unwrap_or_default().into_iter();
        let bundles = entries.map(|entry| entry.client_config.ca_bundle.unwrap_or_default().0);
        bundles.map(|pem| Ok(String::from_utf8(pem)?)).collect()
    }

    /// The CA bundle of the entry for pods.
    pub async fn bundle(&self) -> anyhow::Result<String> {
        Ok(self.bundles().await?.swap_remove(0))
    }

    /// Edits the configuration.
    pub async fn edit(&self, operations: Value) -> anyhow::Result<()> {
        let patch = Patch::<()>::Json(serde_json::from_value(operations)?);
        self.configurations().patch(CONFIGURATION, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.cluster.client(), SYSTEM_NAMESPACE)
    }

    /// The authority in the webhook's Secret.
    pub async fn authority(&self) -> anyhow::Result<String> {
        self.secret_value("ca.crt").await
    }

    /// Puts another authority into the webhook's Secret. Returns it.
    pub async fn put_other_authority(&self) -> anyhow::Result<String> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "multicluster-service-account-webhook CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let values = json!({ "ca.crt": authority.pem(), "ca.key": authority.key().serialize_pem() });
        let patch = Patch::Merge(json!({ "stringData": values }));
        self.secrets().patch(CERTIFICATE, &PatchParams::default(), &patch).await?;
        Ok(authority.pem())
    }

    /// A value of the webhook's Secret.
    pub async fn secret_value(&self, key: &str) -> anyhow::Result<String> {
        let data = self.secrets().get(CERTIFICATE).await?.data.unwrap_or_default();
        let value = data.get(key).with_context(|| format!("no {key} in the Secret"))?;
        Ok(String::from_utf8(value.0.clone())?)
    }
}
