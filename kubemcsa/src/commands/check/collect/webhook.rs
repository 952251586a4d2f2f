//! What there is of the webhook.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};

use super::{Seen, deployed, deployment, note};
use crate::cluster::Cluster;
use crate::cluster::call::CallError;
use crate::commands::check::facts::{Certificate, Entry, Webhook};

/// cert-manager's annotation of the Secrets that it fills.
const ISSUED_BY: &str = "cert-manager.io/certificate-name";

/// Looks.
pub async fn collect(cluster: &Cluster) -> Seen<Webhook> {
    let mut unseen = Vec::new();
    let (deployment, configuration, certificate) =
        tokio::join!(deployment(cluster, "webhook"), configuration(cluster), certificate(cluster));
    let deployment = note(deployment, "Deployment", Some(SYSTEM_NAMESPACE), &mut unseen);
    let configuration = note(configuration, "MutatingWebhookConfiguration", None, &mut unseen);
    let certificate = note(certificate, "Secret", Some(SYSTEM_NAMESPACE), &mut unseen);
    let what = Webhook {
        is_seen: deployment.is_some(),
        deployment: deployment.flatten().as_ref().map(deployed),
        is_configuration_seen: configuration.is_some(),
        entries: configuration
            .flatten()
            .map(|found| found.webhooks.into_iter().flatten().map(entry).collect()),
        certificate: certificate.flatten(),
    };
    Seen { what, unseen }
}

async fn configuration(cluster: &Cluster) -> Result<Option<MutatingWebhookConfiguration>, CallError> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let name = webhook::CONFIGURATION;
    cluster.call(&format!("read mutating webhook configuration {name}"), api.get_opt(name)).await
}

fn entry(webhook: MutatingWebhook) -> Entry {
    let client = webhook.client_config;
    let ca_bundle = client.ca_bundle.map(|bundle| String::from_utf8_lossy(&bundle.0).into_owned());
    Entry { name: webhook.name, url: client.url, ca_bundle: ca_bundle.unwrap_or_default() }
}

/// The API server gives the key, too: it is dropped at once.
async fn certificate(cluster: &Cluster) -> Result<Option<Certificate>, CallError> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let name = webhook::CERTIFICATE;
    let secret = cluster.call(&format!("read secret {SYSTEM_NAMESPACE}/{name}"), api.get_opt(name)).await?;
    Ok(secret.and_then(|mut secret| {
        let chain = secret.data.as_mut()?.remove("tls.crt")?;
        let issued_by = secret.annotations().get(ISSUED_BY).cloned();
        Some(Certificate { chain: String::from_utf8(chain.0).ok()?, issued_by })
    }))
}
