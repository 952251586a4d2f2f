//! A release on a real API server: installed, upgraded, and gone.

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

/// A release in a namespace of a cluster.
struct Release<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
}

impl Release<'_> {
    /// Runs helm for it, and gives what helm said.
    async fn helm(&self, command: &str, args: &[&str]) -> anyhow::Result<String> {
        let release = [command, "mcsa", "--namespace", self.namespace];
        helm(self.cluster.kubeconfig(), release.iter().chain(args)).await
    }

    async fn get(&self, object: &str) -> anyhow::Result<Value> {
        let (kind, name) = object.split_once(' ').context("no name")?;
        let get = ["-n", SYSTEM_NAMESPACE, "get", kind, name, "-o", "json"];
        Ok(serde_json::from_str(&self.cluster.kubectl(get).await?)?)
    }

    /// That it is there, and not on its way out.
    async fn stays(&self, object: &str) -> anyhow::Result<()> {
        let deleted = self.get(object).await?["metadata"]["deletionTimestamp"].take();
        ensure!(deleted.is_null(), "{object} is being deleted");
        Ok(())
    }

    /// Takes the release back, and waits until what it had is gone but for what is kept.
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
            self.stays(kept).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_system_namespace() -> anyhow::Result<()> {
    let (cluster, source) = &tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    let release = Release { cluster, namespace: SYSTEM_NAMESPACE };
    let said = release.helm("install", &[CHART, "--create-namespace"]).await?;
    ensure!(said.contains("kubemcsa bootstrap --target-context"), "{said}");
    let hint = format!("kubectl label namespace {SYSTEM_NAMESPACE} {LABEL}=restricted");
    ensure!(said.contains(&hint), "{said}");
    // What it says is all that is left to do.
    let both = cluster.dir().join("kubeconfig-of-both");
    write_merged_kubeconfig(&[cluster, source], &both)?;
    bootstrap(&both, cluster, source)?;
    let imports = Imports::of(cluster.client(), "default");
    imports.create(&pod_lister_import("mine", "c2", "lister")).await?;

    // What others have written meanwhile, the next revision leaves alone: the webhook's authority, as it
    // registers it, and the label that the notes speak of.
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
    let said = release.helm("upgrade", &values).await?;
    ensure!(!said.contains(LABEL), "{said}");
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

    // What is turned off, goes; importer and imports stay.
    release.helm("upgrade", &[CHART, "--set=webhook.enabled=false"]).await?;
    eventually("the webhook is gone", async || {
        let left = configurations.get_opt(CONFIGURATION).await?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await;
    release.stays("Deployment importer").await?;

    release.uninstall().await?;
    release.stays("ServiceAccountImport c2").await?;
    release.stays("Secret c2-token").await?;
    ensure!(imports.api.get("mine").await?.metadata.deletion_timestamp.is_none(), "the import goes");
    // The same release finds what it has left, and takes it on.
    release.helm("install", &[CHART]).await?;
    imports.api.get("mine").await?;
    release.uninstall().await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_another_namespace_and_where_kubemcsa_has_installed() -> anyhow::Result<()> {
    let cluster = &Cluster::start("c3").await?;
    let release = Release { cluster, namespace: "default" };
    let said = release.helm("install", &[CHART]).await?;
    ensure!(said.contains("kubemcsa bootstrap") && !said.contains(LABEL), "{said}");
    let namespace = release.get(KEPT[0]).await?;
    ensure!(namespace["metadata"]["labels"][LABEL] == "restricted", "{namespace:#}");
    release.stays("Deployment webhook").await?;
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
