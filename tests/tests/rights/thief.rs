//! Importer and webhook in the hands of a thief: of what RBAC lets them, the policy refuses what they never do.

mod importer;
mod webhook;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Cluster, eventually, kubemcsa_ok};
use serde_json::{Value, json};

const POLICY: &str = "multicluster-service-account-secrets";

/// The type of which Kubernetes makes a token, of the service account that an annotation names.
const TOKEN: &str = "kubernetes.io/service-account-token";

/// What the API server says where there is no right that a policy could narrow.
const NO_RIGHT: &str = "cannot";

/// Someone with a token of the importer or the webhook, in one namespace.
struct Thief {
    secrets: Api<Secret>,
    /// Whether there is a right to Secrets in this namespace.
    has_rights: bool,
}

impl Thief {
    async fn of(cluster: &Cluster, account: &str, namespace: &str, has_rights: bool) -> anyhow::Result<Self> {
        let client = cluster.client_of(SYSTEM_NAMESPACE, account).await?;
        Ok(Self { secrets: Api::namespaced(client, namespace), has_rights })
    }

    /// That the policy refuses this, in these words, unless RBAC has refused it before.
    fn is_refused(&self, attempt: kube::Result<Secret>, said: &str) -> anyhow::Result<()> {
        let said = if self.has_rights { said } else { NO_RIGHT };
        match attempt {
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(said) => Ok(()),
            Err(error) => bail!("it is not refused by {said:?}, but by {error}"),
            Ok(secret) => bail!("{} is written, which should be refused by {said:?}", secret.name_any()),
        }
    }

    async fn create(&self, secret: &Value) -> anyhow::Result<kube::Result<Secret>> {
        let secret = serde_json::from_value(secret.clone())?;
        Ok(self.secrets.create(&PostParams::default(), &secret).await)
    }

    async fn merge(&self, name: &str, patch: &Value) -> kube::Result<Secret> {
        self.secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    /// By the one request that may either create or patch.
    async fn apply(&self, name: &str, secret: &Value) -> kube::Result<Secret> {
        let object = and(secret, json!({ "apiVersion": "v1", "kind": "Secret" }));
        self.secrets.patch(name, &PatchParams::apply("thief").force(), &Patch::Apply(object)).await
    }
}

/// A cluster with an installation, whose policy the API server knows by now.
async fn installed(name: &str, args: &[&str], namespaces: &[&str]) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(name).await?;
    for namespace in namespaces {
        cluster.kubectl(["create", "namespace", namespace]).await?;
    }
    kubemcsa_ok(cluster.kubeconfig(), [&["install", "--no-wait"], args].concat())?;
    let secrets = Thief::of(&cluster, "importer", SYSTEM_NAMESPACE, true).await?.secrets;
    let params = PostParams { dry_run: true, ..Default::default() };
    let secret = serde_json::from_value(json!({ "metadata": { "name": "tried" } }))?;
    eventually("the policy holds", async || match secrets.create(&params, &secret).await {
        Err(kube::Error::Api(status)) if status.message.contains(POLICY) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    Ok(cluster)
}

fn secret(type_: &str, metadata: &Value, values: &Value) -> Value {
    json!({ "type": type_, "metadata": metadata, "stringData": values })
}

/// The same with more in it.
fn and(object: &Value, more: Value) -> Value {
    let mut object = object.clone();
    json_patch::merge(&mut object, &more);
    object
}

/// The Secrets of a namespace, each with its version.
async fn versions(cluster: &Cluster, namespace: &str) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let secrets = Api::<Secret>::namespaced(cluster.client(), namespace);
    let listed = secrets.list(&Default::default()).await?;
    Ok(listed.iter().map(|secret| (secret.name_any(), secret.resource_version())).collect())
}

/// Kubernetes checks the types of what a policy says, and tells of it in a status.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_has_no_faults() -> anyhow::Result<()> {
    let cluster = installed("c3", &[], &[]).await?;
    let policies = Api::<ValidatingAdmissionPolicy>::all(cluster.client());
    let checked = eventually("the policy is checked", async || {
        let policy = policies.get(POLICY).await?;
        let generation = policy.metadata.generation;
        let status = policy.status.filter(|status| status.observed_generation == generation);
        status.and_then(|status| status.type_checking).context("it is not")
    })
    .await;
    let warnings = checked.expression_warnings.unwrap_or_default();
    ensure!(warnings.is_empty(), "{warnings:#?}");
    Ok(())
}
