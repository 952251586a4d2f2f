//! Our entry in the webhook configuration: where the API server calls, and whom it trusts there.

use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch, PatchOperation, ReplaceOperation};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ServiceReference, WebhookClientConfig,
};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::contract::webhook::{CONFIGURATION, ENTRIES, ENTRY, PATH, SERVICE};
use serde_json::json;

use crate::args::WebhookUrl;

/// The configuration is there, and our entry is not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "MutatingWebhookConfiguration {CONFIGURATION} has no webhook {ENTRY}: run kubemcsa install, or kubectl apply -k \
     manifests"
)]
pub struct NoEntry;

/// What has to change in the configuration so that the API server calls us, by this URL or else
/// by the Service, and trusts this authority; nothing if it is so already.
///
/// # Errors
/// When our entry is missing: the rest of it, such as which namespaces it is for, is the
/// manifest's to say.
pub fn patch(
    configuration: &MutatingWebhookConfiguration,
    url: Option<&WebhookUrl>,
    ca: &str,
) -> Result<Option<Patch>, NoEntry> {
    let entries = configuration.webhooks.iter().flatten().enumerate();
    let ours: Vec<_> = entries.filter(|(_, entry)| ENTRIES.contains(&entry.name.as_str())).collect();
    if ours.is_empty() {
        return Err(NoEntry);
    }
    let replace = |path, value| PatchOperation::Replace(ReplaceOperation { path, value });
    let version = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
    let mut operations = vec![replace(version, json!(configuration.metadata.resource_version))];
    for (index, entry) in ours {
        let wanted = wanted(&entry.client_config, url, ca);
        if entry.client_config != wanted {
            let client_config = PointerBuf::from_tokens(["webhooks", &index.to_string(), "clientConfig"]);
            operations.push(replace(client_config, json!(wanted)));
        }
    }
    Ok((operations.len() > 1).then_some(Patch(operations)))
}

fn wanted(present: &WebhookClientConfig, url: Option<&WebhookUrl>, ca: &str) -> WebhookClientConfig {
    let ca_bundle = Some(ByteString(ca.as_bytes().to_vec()));
    match url {
        Some(url) => WebhookClientConfig { ca_bundle, service: None, url: Some(url.as_str().to_owned()) },
        None => {
            // Whoever installed another Service knows why; after a run with --url there is none.
            let service = present.service.clone().unwrap_or_else(|| ServiceReference {
                namespace: SYSTEM_NAMESPACE.to_owned(),
                name: SERVICE.to_owned(),
                path: Some(PATH.to_owned()),
                port: Some(443),
            });
            WebhookClientConfig { ca_bundle, service: Some(service), url: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::Value;

    const CA: &str = "ca";
    const CA_BASE64: &str = "Y2E=";

    fn service(port: i32) -> Value {
        let namespace = "multicluster-service-account";
        json!({ "name": "webhook", "namespace": namespace, "path": "/mutate-pods", "port": port })
    }

    fn configuration(client_config: &Value) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": CONFIGURATION, "resourceVersion": "7" },
            "webhooks": [
                {
                    "name": "other.example.com", "clientConfig": { "url": "https://other.example.com" },
                    "sideEffects": "None", "admissionReviewVersions": ["v1"],
                },
                {
                    "name": ENTRY, "clientConfig": client_config, "younger": true,
                    "sideEffects": "None", "admissionReviewVersions": ["v1"],
                },
            ],
        })
    }

    fn registered(client_config: &Value, url: Option<&WebhookUrl>) -> Option<Value> {
        let before = configuration(client_config);
        let patch = patch(&serde_json::from_value(before.clone()).unwrap(), url, CA).unwrap()?;
        let mut after = before;
        json_patch::patch(&mut after, &patch).unwrap();
        let written = after["webhooks"][1]["clientConfig"].clone();
        assert_eq!(after, configuration(&written), "nothing else changes, and the version goes along");
        assert_eq!(patch.0[0].path().as_str(), "/metadata/resourceVersion");
        Some(written)
    }

    #[rstest]
    #[case::installed(json!({ "service": service(443) }), Some(443))]
    #[case::already(json!({ "service": service(443), "caBundle": CA_BASE64 }), None)]
    #[case::another_authority(json!({ "service": service(443), "caBundle": "eA==" }), Some(443))]
    #[case::another_port(json!({ "service": service(8443) }), Some(8443))]
    #[case::after_a_url(json!({ "url": "https://192.0.2.1/mutate-pods", "caBundle": CA_BASE64 }), Some(443))]
    #[case::both(json!({ "url": "https://192.0.2.1/a", "service": service(443), "caBundle": CA_BASE64 }), Some(443))]
    fn by_service(#[case] client_config: Value, #[case] port: Option<i32>) {
        let expected = port.map(|port| json!({ "service": service(port), "caBundle": CA_BASE64 }));
        assert_eq!(registered(&client_config, None), expected);
    }

    #[rstest]
    #[case::installed(json!({ "service": service(443) }), true)]
    #[case::already(json!({ "url": "https://192.0.2.1/mutate-pods", "caBundle": CA_BASE64 }), false)]
    #[case::another_url(json!({ "url": "https://192.0.2.2/mutate-pods", "caBundle": CA_BASE64 }), true)]
    fn by_url(#[case] client_config: Value, #[case] changes: bool) {
        let url = "https://192.0.2.1/mutate-pods";
        let expected = changes.then(|| json!({ "url": url, "caBundle": CA_BASE64 }));
        assert_eq!(registered(&client_config, Some(&url.parse().unwrap())), expected);
    }

    #[test]
    fn a_configuration_without_our_entry_is_left_alone() {
        assert_eq!(patch(&MutatingWebhookConfiguration::default(), None, CA), Err(NoEntry));
    }
}
