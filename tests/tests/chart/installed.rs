//! Installs, upgrades and uninstalls releases on a real API server.

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::CONFIGURATION;
use mcsa_tests::{
    Cluster, Imports, bootstrap, eventually, helm, kubemcsa_ok, pod_lister_import, write_merged_kubeconfig,
};
use serde_json::{Value, json};

use super::{CHART, KEPT};

const LABEL: &str = "pod-security.kubernetes.io/enforce";

/// A release in a namespace.
struct Release<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl Release<'_> {
    /// Runs helm for the release, and returns its output.
    async fn helm(&self, command: &str, args: &[&str]) -> anyhow::Result<String> {
        let release = [command, "mcsa", "--namespace", self.namespace];
        helm(self.cluster.kubeconfig(), release.iter().chain(args)).await
    }

    async fn get(&self, object: &str) -> anyhow::Result<Value> {
        let (kind, name) = object.split_once(' ').context("expected a kind and a name")?;
        let get = ["-n", SYSTEM_NAMESPACE, "get", kind, name, "-o", "json"];
        Ok(serde_json::from_str(&self.cluster.kubectl(get).await?)?)
    }

    /// Fails if an object is missing or being deleted.
    async fn ensure_exists(&self, object: &str) -> anyhow::Result<()> {
        let deleted = self.get(object).await?["metadata"]["deletionTimestamp"].take();
        ensure!(deleted.is_null(), "{object} is being deleted");
        Ok(())
    }

    /// Uninstalls the release, and waits until its objects are deleted, except for those that are kept.
    async fn uninstall(&self) -> anyhow::Result<()> {
        self.helm("uninstall", &[]).await?;
        for gone in [
            format!("MutatingWebhookConfiguration {CONFIGURATION}"),
            "Deployment webhook".into(),
            "Deployment importer".into(),
            "Service webhook".into(),
            "ServiceAccount importer".into(),
            "Role webhook".into(),
            format!("ClusterRole {CONFIGURATION}"),
            "ClusterRoleBinding multicluster-service-account-importer".into(),
            "ValidatingAdmissionPolicy multicluster-service-account-secrets".into(),
            "ValidatingAdmissionPolicyBinding multicluster-service-account-secrets".into(),
        ] {
            eventually(format!("{gone} is gone"), async || match self.get(&gone).await {
                Err(error) if error.to_string().contains("NotFound") => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        }
        for kept in KEPT {
            self.ensure_exists(kept).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn release_in_the_system_namespace_works() -> anyhow::Result<()> {
    let (cluster, source) = &tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let release = Release { cluster, namespace: SYSTEM_NAMESPACE };
    let notes = release.helm("install", &[CHART, "--create-namespace"]).await?;
    ensure!(notes.contains("kubemcsa bootstrap --target-context"), "{notes}");
    let hint = format!("kubectl label namespace {SYSTEM_NAMESPACE} {LABEL}=restricted");
    ensure!(notes.contains(&hint), "{notes}");
    // The command in the notes is the only remaining step.
    let both = cluster.dir().join("kubeconfig-of-both");
    write_merged_kubeconfig(&[cluster, source], &both)?;
    bootstrap(&both, cluster, source)?;
    let imports = Imports::of(cluster.client(), "default");
    imports.create(&pod_lister_import("mine", "c2", "lister")).await?;

    // An upgrade keeps what others have written: the authority that the webhook registers, and the label that the notes
    // recommend.
    let configurations = Api::<MutatingWebhookConfiguration>::all(cluster.client());
    let mut client =
        configurations.get(CONFIGURATION).await?.webhooks.unwrap_or_default().remove(0).client_config;
    client.ca_bundle = Some(k8s_openapi::ByteString(cluster.ca_pem().into()));
    let patch = json!([{ "op": "replace", "path": "/webhooks/0/clientConfig", "value": client }]);
    let patch = Patch::<()>::Json(serde_json::from_value(patch)?);
    configurations.patch(CONFIGURATION, &PatchParams::default(), &patch).await?;
    cluster.kubectl(["label", "namespace", SYSTEM_NAMESPACE, &format!("{LABEL}=restricted")]).await?;
    let values = [
        CHART,
        "--set=importer.replicas=3",
        "--set=importer.extraEnv[0].name=RUST_LOG,importer.extraEnv[0].value=debug",
        "--set=importer.image.pullSecrets[0].name=s,importer.nodeSelector.disk=ssd",
        "--set=importer.tolerations[0].operator=Exists,webhook.certificates=own",
        "--set=webhook.resources.limits.memory=1Gi,metrics.dashboard.enabled=true",
    ];
    let notes = release.helm("upgrade", &values).await?;
    ensure!(!notes.contains(LABEL), "{notes}");
    let importer = release.get("Deployment importer").await?;
    let pod = &importer["spec"]["template"]["spec"];
    ensure!(importer["spec"]["replicas"] == 3, "{importer:#}");
    ensure!(pod["containers"][0]["env"] == json!([{ "name": "RUST_LOG", "value": "debug" }]), "{pod:#}");
    ensure!(pod["nodeSelector"]["disk"] == "ssd" && pod["tolerations"][0]["operator"] == "Exists", "{pod:#}");
    let entry = configurations.get(CONFIGURATION).await?.webhooks.unwrap_or_default().remove(0);
    ensure!(entry.client_config == client, "{entry:?}");
    let namespace = release.get(KEPT[0]).await?;
    ensure!(namespace["metadata"]["labels"][LABEL] == "restricted", "{namespace:#}");
    release.get("ConfigMap multicluster-service-account-dashboard").await?;

    // Disabling the webhook deletes it, and keeps importer and imports.
    release.helm("upgrade", &[CHART, "--set=webhook.enabled=false"]).await?;
    eventually("the webhook is gone", async || {
        let left = configurations.get_opt(CONFIGURATION).await?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await;
    release.ensure_exists("Deployment importer").await?;

    release.uninstall().await?;
    release.ensure_exists("ServiceAccountImport c2").await?;
    release.ensure_exists("Secret c2-token").await?;
    ensure!(
        imports.api.get("mine").await?.metadata.deletion_timestamp.is_none(),
        "the import is being deleted"
    );
    // Installing again adopts what was kept.
    release.helm("install", &[CHART]).await?;
    imports.api.get("mine").await?;
    release.uninstall().await
}

#[tokio::test(flavor = "multi_thread")]
async fn release_in_another_namespace_can_take_over_from_kubemcsa() -> anyhow::Result<()> {
    let cluster = &Cluster::start("c3").await?;
    let release = Release { cluster, namespace: "default" };
    let notes = release.helm("install", &[CHART]).await?;
    ensure!(notes.contains("kubemcsa bootstrap") && !notes.contains(LABEL), "{notes}");
    let namespace = release.get(KEPT[0]).await?;
    ensure!(namespace["metadata"]["labels"][LABEL] == "restricted", "{namespace:#}");
    release.ensure_exists("Deployment webhook").await?;
    release.helm("upgrade", &[CHART, "--set=webhook.replicas=3"]).await?;
    release.uninstall().await?;

    kubemcsa_ok(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let release = Release { cluster, namespace: SYSTEM_NAMESPACE };
    let refused = release.helm("install", &[CHART]).await.map_err(|error| error.to_string());
    ensure!(refused.as_ref().is_err_and(|error| error.contains("ownership")), "{refused:?}");
    release.helm("install", &[CHART, "--take-ownership", "--force-conflicts"]).await?;
    release.helm("upgrade", &[CHART, "--force-conflicts", "--set=importer.replicas=3"]).await?;
    let importer = release.get("Deployment importer").await?;
    ensure!(importer["spec"]["replicas"] == 3, "{importer:#}");
    release.uninstall().await
}
