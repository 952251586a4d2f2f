//! An attacker has a token of the importer, the webhook or the launcher. The admission policies refuse writes that RBAC
//! allows but the programs never make.

mod importer;
mod launcher;
mod webhook;

use std::fmt::Debug;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Cluster, eventually, kubemcsa_ok};
use serde_json::{Value, json};

const POLICY: &str = "multicluster-service-account-secrets";

/// To Secrets of this type, Kubernetes adds a token of the service account that an annotation names.
const TOKEN: &str = "kubernetes.io/service-account-token";

/// The API server's message if RBAC refuses a request.
const NO_RIGHT: &str = "cannot";

/// A client with a token of the importer or the webhook, for one namespace.
struct Attacker {
    secrets: Api<Secret>,
    /// Whether RBAC allows writing Secrets in this namespace.
    has_rights: bool,
}

impl Attacker {
    async fn of(cluster: &Cluster, account: &str, namespace: &str, has_rights: bool) -> anyhow::Result<Self> {
        let client = cluster.client_of(SYSTEM_NAMESPACE, account).await?;
        Ok(Self { secrets: Api::namespaced(client, namespace), has_rights })
    }

    /// Fails unless the policy refuses the request with this message, or RBAC refuses it.
    fn ensure_refused<T>(&self, result: kube::Result<T>, message: &str) -> anyhow::Result<()> {
        let message = if self.has_rights { message } else { NO_RIGHT };
        match result {
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(message) => Ok(()),
            Err(error) => bail!("expected a refusal with {message:?}, not: {error}"),
            Ok(_) => bail!("expected a refusal with {message:?}, but the request succeeded"),
        }
    }

    async fn create(&self, secret: &Value) -> anyhow::Result<kube::Result<Secret>> {
        let secret = serde_json::from_value(secret.clone())?;
        Ok(self.secrets.create(&PostParams::default(), &secret).await)
    }

    async fn merge(&self, name: &str, patch: &Value) -> kube::Result<Secret> {
        self.secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    async fn delete(&self, name: &str) -> kube::Result<()> {
        self.secrets.delete(name, &DeleteParams::default()).await.map(drop)
    }

    /// Server-side apply, which either creates or patches.
    async fn apply(&self, name: &str, secret: &Value) -> kube::Result<Secret> {
        let object = merged(secret, json!({ "apiVersion": "v1", "kind": "Secret" }));
        self.secrets.patch(name, &PatchParams::apply("attacker").force(), &Patch::Apply(object)).await
    }
}

/// A cluster with an installation whose policy is in effect.
async fn installed(name: &str, args: &[&str], namespaces: &[&str]) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(name).await?;
    for namespace in namespaces {
        cluster.kubectl(["create", "namespace", namespace]).await?;
    }
    kubemcsa_ok(cluster.kubeconfig(), [&["install", "--no-wait"], args].concat())?;
    let secrets = Attacker::of(&cluster, "importer", SYSTEM_NAMESPACE, true).await?.secrets;
    let params = PostParams { dry_run: true, ..Default::default() };
    let secret = serde_json::from_value(json!({ "metadata": { "name": "tried" } }))?;
    eventually("the policy is in effect", async || match secrets.create(&params, &secret).await {
        Err(kube::Error::Api(status)) if status.message.contains(POLICY) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    Ok(cluster)
}

/// Fails unless a policy refused the request with this message.
fn ensure_refused<T: Debug>(result: kube::Result<T>, message: &str) -> anyhow::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(message) => Ok(()),
        other => bail!("expected a refusal with {message:?}, not: {other:?}"),
    }
}

fn secret(type_: &str, metadata: &Value, values: &Value) -> Value {
    json!({ "type": type_, "metadata": metadata, "stringData": values })
}

/// The object with a merge patch applied.
fn merged(object: &Value, patch: Value) -> Value {
    let mut object = object.clone();
    json_patch::merge(&mut object, &patch);
    object
}

/// The Secrets of a namespace, each with its resource version.
async fn versions(cluster: &Cluster, namespace: &str) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let secrets = Api::<Secret>::namespaced(cluster.client(), namespace);
    let listed = secrets.list(&Default::default()).await?;
    Ok(listed.iter().map(|secret| (secret.name_any(), secret.resource_version())).collect())
}

/// Kubernetes type-checks policies, and reports warnings in their status.
#[tokio::test(flavor = "multi_thread")]
async fn policies_pass_type_checking() -> anyhow::Result<()> {
    let cluster = installed("c3", &[], &[]).await?;
    let policies = Api::<ValidatingAdmissionPolicy>::all(cluster.client());
    let listed = policies.list(&Default::default()).await?;
    let names: Vec<_> =
        listed.iter().map(ResourceExt::name_any).filter(|name| name.starts_with(SYSTEM_NAMESPACE)).collect();
    ensure!(names.len() == 5 && names.iter().any(|name| name == POLICY), "{names:?}");
    for name in names {
        let checked = eventually("the policy is type-checked", async || {
            let policy = policies.get(&name).await?;
            let generation = policy.metadata.generation;
            let status = policy.status.filter(|status| status.observed_generation == generation);
            status.and_then(|status| status.type_checking).context("the status has no type checking")
        })
        .await;
        let warnings = checked.expression_warnings.unwrap_or_default();
        ensure!(warnings.is_empty(), "{name}: {warnings:#?}");
    }
    Ok(())
}
