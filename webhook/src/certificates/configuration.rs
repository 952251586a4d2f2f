//! Our entries in the webhook configuration: where the API server calls, and whom it trusts there.

use json_patch::jsonptr::PointerBuf;
use json_patch::{Patch, PatchOperation, ReplaceOperation};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ServiceReference, WebhookClientConfig,
};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{CONFIGURATION, ENTRIES, ENTRY, PATH, SERVICE};
use serde_json::json;

use crate::args::{self, WebhookUrl};
use crate::certificates::authorities::Authorities;

/// The configuration is there, and no entry of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "MutatingWebhookConfiguration {CONFIGURATION} has no webhook {ENTRY}: run kubemcsa install, or kubectl apply -k \
     manifests"
)]
pub(crate) struct NoEntry;

/// What our entries say.
#[derive(Debug)]
pub(crate) struct Registered {
    /// The authorities that each of them trusts.
    pub trusted: Authorities,
    /// The authorities that one of them trusts.
    pub present: Authorities,
    /// Whether one has no caBundle, and so trusts whom the API server's own system does.
    pub unfilled: bool,
    /// By which names the API server calls.
    pub names: Vec<String>,
}

/// Reads our entries.
///
/// # Errors
/// When there is none.
pub(crate) fn read(configuration: &MutatingWebhookConfiguration) -> Result<Registered, NoEntry> {
    let clients: Vec<_> = ours(configuration).map(|(_, client)| client).collect();
    let bundle = |client: &&WebhookClientConfig| client.ca_bundle.clone().unwrap_or_default().0;
    let mut bundles = clients.iter().map(|client| Authorities::read(&bundle(client)));
    let first = bundles.next().ok_or(NoEntry)?;
    let (trusted, present) = bundles.fold((first.clone(), first), |(trusted, present), authorities| {
        (trusted.also_in(&authorities), present.and(&authorities))
    });
    let unfilled = clients.iter().any(|client| bundle(client).is_empty());
    let mut names: Vec<_> = clients.iter().filter_map(|client| name(client)).collect();
    names.dedup();
    Ok(Registered { trusted, present, unfilled, names })
}

/// What has to change in the configuration so that the API server calls us, by this URL or else
/// by the Service, and trusts these authorities, unless that is someone else's to say; nothing if
/// it is so already.
///
/// Which entries there are, and for which namespaces, is the manifest's to say.
pub(crate) fn patch(
    configuration: &MutatingWebhookConfiguration,
    url: Option<&WebhookUrl>,
    authorities: Option<&Authorities>,
) -> Option<Patch> {
    let replace = |path, value| PatchOperation::Replace(ReplaceOperation { path, value });
    let changes: Vec<_> = ours(configuration)
        .map(|(index, present)| (index, present, wanted(present, url, authorities)))
        .filter(|(_, present, wanted)| *present != wanted)
        .map(|(index, _, wanted)| {
            let path = PointerBuf::from_tokens(["webhooks", &index.to_string(), "clientConfig"]);
            replace(path, json!(wanted))
        })
        .collect();
    if changes.is_empty() {
        return None;
    }
    // The version is the precondition. A replacement of the whole object would lose fields that are
    // younger than our types.
    let version = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
    let version = replace(version, json!(configuration.metadata.resource_version));
    Some(Patch(std::iter::once(version).chain(changes).collect()))
}

fn ours(configuration: &MutatingWebhookConfiguration) -> impl Iterator<Item = (usize, &WebhookClientConfig)> {
    let entries = configuration.webhooks.iter().flatten().enumerate();
    let ours = entries.filter(|(_, entry)| ENTRIES.contains(&entry.name.as_str()));
    ours.map(|(index, entry)| (index, &entry.client_config))
}

/// The name in the certificate that the API server asks for.
fn name(client: &WebhookClientConfig) -> Option<String> {
    match (&client.url, &client.service) {
        (Some(url), _) => args::host(&url.parse().ok()?),
        (None, Some(service)) => Some(format!("{}.{}.svc", service.name, service.namespace)),
        (None, None) => None,
    }
}

fn wanted(
    present: &WebhookClientConfig,
    url: Option<&WebhookUrl>,
    authorities: Option<&Authorities>,
) -> WebhookClientConfig {
    let read = |bundle: &ByteString| Authorities::read(&bundle.0);
    let ca_bundle = match authorities {
        // The same ones as another text: someone else's, such as an older version's.
        Some(authorities) if present.ca_bundle.as_ref().map(read).as_ref() != Some(authorities) => {
            Some(ByteString(authorities.pem().into_bytes()))
        }
        _ => present.ca_bundle.clone(),
    };
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

    use crate::certificates::fixtures::issue;

    fn service(port: i32) -> Value {
        let namespace = "multicluster-service-account";
        json!({ "name": "webhook", "namespace": namespace, "path": "/mutate-pods", "port": port })
    }

    fn configuration(client_configs: &[(&str, Value)]) -> Value {
        let entry = |(name, client_config): &(&str, Value)| {
            json!({
                "name": name, "clientConfig": client_config, "younger": true,
                "sideEffects": "None", "admissionReviewVersions": ["v1"],
            })
        };
        let other = [("other.example.com", json!({ "url": "https://other.example.com" }))];
        let entries: Vec<_> = other.iter().chain(client_configs).map(entry).collect();
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": CONFIGURATION, "resourceVersion": "7" },
            "webhooks": entries,
        })
    }

    fn parse(configuration: &Value) -> MutatingWebhookConfiguration {
        serde_json::from_value(configuration.clone()).unwrap()
    }

    /// The entry after the registration, if it had to change.
    fn registered(
        client_config: &Value,
        url: Option<&WebhookUrl>,
        authorities: Option<&Authorities>,
    ) -> Option<Value> {
        let mut after = configuration(&[(ENTRY, client_config.clone())]);
        let patch = patch(&parse(&after), url, authorities)?;
        json_patch::patch(&mut after, &patch).unwrap();
        let written = after["webhooks"][1]["clientConfig"].clone();
        let expected = configuration(&[(ENTRY, written.clone())]);
        assert_eq!(after, expected, "nothing else changes, and the version goes along");
        assert_eq!(patch.0[0].path().as_str(), "/metadata/resourceVersion");
        Some(written)
    }

    fn base64(authorities: &Authorities) -> Value {
        json!(ByteString(authorities.pem().into_bytes()))
    }

    #[test]
    fn by_service() {
        let ((_, ours), (_, others)) = (issue(), issue());
        let (ca, other, both) = (base64(&ours), base64(&others), base64(&ours.clone().and(&others)));
        let prose = json!(ByteString(format!("ours:\n{}", ours.pem()).into_bytes()));
        for (client_config, port) in [
            (json!({ "service": service(443) }), Some(443)),
            (json!({ "service": service(443), "caBundle": ca }), None),
            (json!({ "service": service(443), "caBundle": prose }), None),
            (json!({ "service": service(443), "caBundle": other }), Some(443)),
            (json!({ "service": service(443), "caBundle": both }), Some(443)),
            (json!({ "service": service(443), "caBundle": "eA==" }), Some(443)),
            (json!({ "service": service(443), "caBundle": "" }), Some(443)),
            (json!({ "service": service(8443) }), Some(8443)),
            (json!({ "url": "https://192.0.2.1/mutate-pods", "caBundle": ca }), Some(443)),
            (json!({ "url": "https://192.0.2.1/a", "service": service(443), "caBundle": ca }), Some(443)),
        ] {
            let expected = port.map(|port| json!({ "service": service(port), "caBundle": ca }));
            assert_eq!(registered(&client_config, None, Some(&ours)), expected, "{client_config}");
        }
    }

    #[test]
    fn by_url() {
        let (_, ours) = issue();
        let ca = base64(&ours);
        let url = "https://192.0.2.1/mutate-pods";
        for (client_config, changes) in [
            (json!({ "service": service(443) }), true),
            (json!({ "url": url, "caBundle": ca }), false),
            (json!({ "url": "https://192.0.2.2/mutate-pods", "caBundle": ca }), true),
        ] {
            let parsed = url.parse().unwrap();
            let expected = changes.then(|| json!({ "url": url, "caBundle": ca }));
            assert_eq!(registered(&client_config, Some(&parsed), Some(&ours)), expected);
            // Whom to trust is someone else's to say.
            let expected = changes.then(|| {
                let mut expected = json!({ "url": url });
                if let Some(present) = client_config.get("caBundle") {
                    expected["caBundle"] = present.clone();
                }
                expected
            });
            assert_eq!(registered(&client_config, Some(&parsed), None), expected);
        }
    }

    #[test]
    fn each_entry_of_ours() {
        let ((_, ours), (_, others)) = (issue(), issue());
        let both = ours.clone().and(&others);
        let of =
            |authorities: &Authorities| json!({ "service": service(443), "caBundle": base64(authorities) });
        let mut stored = configuration(&[(ENTRIES[0], of(&both)), (ENTRIES[1], of(&ours))]);
        let read = super::read(&parse(&stored)).unwrap();
        assert_eq!((&read.trusted, &read.present, read.unfilled), (&ours, &both, false));
        assert_eq!(read.names, ["webhook.multicluster-service-account.svc"]);

        let patch = |stored: &Value| super::patch(&parse(stored), None, Some(&both));
        let changes = patch(&stored).unwrap();
        json_patch::patch(&mut stored, &changes).unwrap();
        assert_eq!(stored, configuration(&[(ENTRIES[0], of(&both)), (ENTRIES[1], of(&both))]));
        assert!(patch(&stored).is_none());
    }

    #[rstest]
    #[case(json!({ "service": service(443) }), &["webhook.multicluster-service-account.svc"])]
    #[case(json!({ "url": "https://[::1]:9443/mutate-pods" }), &["::1"])]
    #[case(json!({ "url": "https://webhook.example.com/mutate-pods" }), &["webhook.example.com"])]
    #[case(json!({}), &[])]
    fn callers(#[case] client_config: Value, #[case] names: &[&str]) {
        let read = read(&parse(&configuration(&[(ENTRY, client_config)]))).unwrap();
        assert_eq!(read.names, names);
        assert!(read.unfilled && read.present.is_empty());
    }

    #[test]
    fn a_configuration_without_our_entry_is_left_alone() {
        let stored = parse(&configuration(&[]));
        assert_eq!(read(&stored).unwrap_err(), NoEntry);
        assert!(patch(&stored, None, Some(&issue().1)).is_none());
    }
}
