//! A cluster with the manifests installed and thousands of imports, without an importer.

use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mcsa_client::contract::{ENABLED, NAMESPACE_LABEL, SYSTEM_NAMESPACE};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use mcsa_tests::{Cluster, kubemcsa_ok};
use serde_json::{Value, json};

/// Number of namespaces with the webhook enabled.
pub const NAMESPACES: usize = 20;

/// Number of imports to create at the same time.
const CONCURRENCY: usize = 32;

pub struct Fixture {
    pub cluster: Cluster,
    /// The kubeconfig of the webhook's own service account.
    pub kubeconfig: PathBuf,
}

pub fn import_name(index: usize) -> String {
    format!("import-{index:05}")
}

/// The namespace of an import.
pub fn namespace_of(import: usize) -> String {
    format!("bench-{:02}", import % NAMESPACES)
}

impl Fixture {
    /// Starts the cluster, and installs the manifests.
    pub async fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start("c1").await?;
        kubemcsa_ok(cluster.kubeconfig(), ["install", "--no-wait"])?;
        let kubeconfig = cluster.kubeconfig_of(SYSTEM_NAMESPACE, "webhook").await?;
        let fixture = Self { cluster, kubeconfig };
        for index in 0..NAMESPACES {
            fixture.create_namespace(&namespace_of(index), &json!({ NAMESPACE_LABEL: ENABLED })).await?;
        }
        Ok(fixture)
    }

    /// Creates a namespace with these labels.
    pub async fn create_namespace(&self, name: &str, labels: &Value) -> anyhow::Result<()> {
        let namespace = json!({ "metadata": { "name": name, "labels": labels } });
        let api = Api::<Namespace>::all(self.cluster.client());
        api.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        Ok(())
    }

    /// Creates imports, and marks each as ready, as an importer does.
    pub async fn create_imports(&self, count: usize) -> anyhow::Result<()> {
        let client = &self.cluster.client();
        let created = stream::iter(0..count)
            .map(async |index| {
                let api = Api::<ServiceAccountImport>::namespaced(client.clone(), &namespace_of(index));
                let spec = ServiceAccountImportSpec {
                    cluster_name: "c2".to_owned(),
                    namespace: "payments".to_owned(),
                    name: "checkout".to_owned(),
                    expiration_seconds: 3600,
                    ..Default::default()
                };
                let import = ServiceAccountImport::new(&import_name(index), spec);
                api.create(&PostParams::default(), &import).await?;
                let status = Patch::Merge(json!({ "status": status(&import) }));
                api.patch_status(&import_name(index), &PatchParams::default(), &status).await.map(drop)
            })
            .buffer_unordered(CONCURRENCY);
        Ok(created.try_collect().await?)
    }
}

fn status(import: &ServiceAccountImport) -> Value {
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({ "type": type_, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": "2026-03-01T09:30:00Z", "observedGeneration": 1 })
    };
    json!({
        "secrets": [{ "name": import.secret_name() }],
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "TokenValid", "the Secret holds a token that has not expired"),
            condition("Refreshed", "Refreshed", "a token was minted and stored"),
        ],
        "expirationTime": "2026-03-01T10:30:00Z",
        "refreshTime": "2026-03-01T10:12:00Z",
        "serviceAccountUID": "7c2de3b5-1f8e-4a07-9d44-5b0f0a6f3c21",
    })
}
