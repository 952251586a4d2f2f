//! Reads the state of the webhook.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};

use super::{Collected, Errors, deployment, status};
use crate::cluster::Cluster;
use crate::cluster::call::CallError;
use crate::commands::check::facts::{Certificate, Entry, Webhook};

/// cert-manager's annotation of the Secrets that it writes.
const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";

pub(crate) async fn collect(cluster: &Cluster) -> Collected<Webhook> {
    let mut errors = Errors::default();
    let (deployment, configuration, certificate) =
        tokio::join!(deployment(cluster, "webhook"), configuration(cluster), certificate(cluster));
    let deployment = errors.record(deployment, "Deployment", Some(SYSTEM_NAMESPACE));
    let configuration = errors.record(configuration, "MutatingWebhookConfiguration", None);
    let certificate = errors.record(certificate, "Secret", Some(SYSTEM_NAMESPACE));
    let value = Webhook {
        is_readable: deployment.is_some(),
        deployment: deployment.flatten().as_ref().map(status),
        is_configuration_readable: configuration.is_some(),
        entries: configuration
            .flatten()
            .map(|found| found.webhooks.into_iter().flatten().map(entry).collect()),
        certificate: certificate.flatten(),
    };
    Collected { value, errors }
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

/// The response contains the private key, too: drops it at once.
async fn certificate(cluster: &Cluster) -> Result<Option<Certificate>, CallError> {
    let api: Api<Secret> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let name = webhook::CERTIFICATE;
    let secret = cluster.call(&format!("read secret {SYSTEM_NAMESPACE}/{name}"), api.get_opt(name)).await?;
    Ok(secret.and_then(|mut secret| {
        let chain = secret.data.as_mut()?.remove("tls.crt")?;
        let cert_manager_name = secret.annotations().get(CERTIFICATE_NAME).cloned();
        Some(Certificate { chain: String::from_utf8(chain.0).ok()?, cert_manager_name })
    }))
}
