//! This webhook's entries in the MutatingWebhookConfiguration: the address that the API server calls, and the CA
//! bundle.

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

/// The configuration has no entry of this webhook.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "MutatingWebhookConfiguration {CONFIGURATION} has no webhook {ENTRY}: run kubemcsa install, or kubectl apply -k \
     manifests"
)]
pub(crate) struct NoEntry;

/// What this webhook's entries contain.
#[derive(Debug)]
pub(crate) struct Entries {
    /// Authorities that every entry's CA bundle contains.
    pub trusted: Authorities,
    /// Authorities that at least one entry's CA bundle contains.
    pub present: Authorities,
    /// Whether an entry has no caBundle. Then the API server trusts its system's authorities.
    pub has_empty_bundle: bool,
    /// Hosts that the API server calls.
    pub names: Vec<String>,
}

pub(crate) fn read(configuration: &MutatingWebhookConfiguration) -> Result<Entries, NoEntry> {
    let clients: Vec<_> = own_entries(configuration).map(|(_, client)| client).collect();
    let bundle = |client: &&WebhookClientConfig| client.ca_bundle.clone().unwrap_or_default().0;
    let mut bundles = clients.iter().map(|client| Authorities::read(&bundle(client)));
    let first = bundles.next().ok_or(NoEntry)?;
    let (trusted, present) = bundles.fold((first.clone(), first), |(trusted, present), authorities| {
        (trusted.intersection(&authorities), present.union(&authorities))
    });
    let has_empty_bundle = clients.iter().any(|client| bundle(client).is_empty());
    let mut names: Vec<_> = clients.iter().filter_map(|client| name(client)).collect();
    names.dedup();
    Ok(Entries { trusted, present, has_empty_bundle, names })
}

/// A patch that makes the API server call this URL, or the Service, and trust these authorities. Without
/// `authorities`, leaves the CA bundles alone. `None` if nothing has to change.
///
/// Absent: adding entries, and changing their selectors. They belong to the manifests.
pub(crate) fn patch(
    configuration: &MutatingWebhookConfiguration,
    url: Option<&WebhookUrl>,
    authorities: Option<&Authorities>,
) -> Option<Patch> {
    let replace = |path, value| PatchOperation::Replace(ReplaceOperation { path, value });
    let changes: Vec<_> = own_entries(configuration)
        .map(|(index, present)| (index, present, desired(present, url, authorities)))
        .filter(|(_, present, desired)| *present != desired)
        .map(|(index, _, desired)| {
            let path = PointerBuf::from_tokens(["webhooks", &index.to_string(), "clientConfig"]);
            replace(path, json!(desired))
        })
        .collect();
    if changes.is_empty() {
        return None;
    }
    // The version is the precondition. Replacing the whole object would lose fields that k8s-openapi does not know.
    let version = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
    let version = replace(version, json!(configuration.metadata.resource_version));
    Some(Patch(std::iter::once(version).chain(changes).collect()))
}

fn own_entries(
    configuration: &MutatingWebhookConfiguration,
) -> impl Iterator<Item = (usize, &WebhookClientConfig)> {
    let entries = configuration.webhooks.iter().flatten().enumerate();
    let own = entries.filter(|(_, entry)| ENTRIES.contains(&entry.name.as_str()));
    own.map(|(index, entry)| (index, &entry.client_config))
}

/// The host that the API server verifies in the certificate.
fn name(client: &WebhookClientConfig) -> Option<String> {
    match (&client.url, &client.service) {
        (Some(url), _) => args::host(&url.parse().ok()?),
        (None, Some(service)) => Some(format!("{}.{}.svc", service.name, service.namespace)),
        (None, None) => None,
    }
}

fn desired(
    present: &WebhookClientConfig,
    url: Option<&WebhookUrl>,
    authorities: Option<&Authorities>,
) -> WebhookClientConfig {
    let read = |bundle: &ByteString| Authorities::read(&bundle.0);
    let ca_bundle = match authorities {
        // Compare sets, because another client may format the same bundle differently.
        Some(authorities) if present.ca_bundle.as_ref().map(read).as_ref() != Some(authorities) => {
            Some(ByteString(authorities.pem().into_bytes()))
        }
        _ => present.ca_bundle.clone(),
    };
    match url {
        Some(url) => WebhookClientConfig { ca_bundle, service: None, url: Some(url.as_str().to_owned()) },
        None => {
            // Keep a custom Service. After a run with --url, the configuration has no Service.
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
                "name": name, "clientConfig": client_config, "unknownField": true,
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

    /// The patched entry, if it had to change.
    fn patched_entry(
        client_config: &Value,
        url: Option<&WebhookUrl>,
        authorities: Option<&Authorities>,
    ) -> Option<Value> {
        let mut after = configuration(&[(ENTRY, client_config.clone())]);
        let patch = patch(&parse(&after), url, authorities)?;
        json_patch::patch(&mut after, &patch).unwrap();
        let written = after["webhooks"][1]["clientConfig"].clone();
        let expected = configuration(&[(ENTRY, written.clone())]);
        assert_eq!(after, expected, "nothing else changes, and the version is a precondition");
        assert_eq!(patch.0[0].path().as_str(), "/metadata/resourceVersion");
        Some(written)
    }

    fn base64(authorities: &Authorities) -> Value {
        json!(ByteString(authorities.pem().into_bytes()))
    }

    #[test]
    fn service_and_ca_bundle_are_restored() {
        let ((_, ours), (_, others)) = (issue(), issue());
        let (ca, other, both) = (base64(&ours), base64(&others), base64(&ours.clone().union(&others)));
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
            assert_eq!(patched_entry(&client_config, None, Some(&ours)), expected, "{client_config}");
        }
    }

    #[test]
    fn url_is_registered() {
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
            assert_eq!(patched_entry(&client_config, Some(&parsed), Some(&ours)), expected);
            // Without authorities, the CA bundle does not change.
            let expected = changes.then(|| {
                let mut expected = json!({ "url": url });
                if let Some(present) = client_config.get("caBundle") {
                    expected["caBundle"] = present.clone();
                }
                expected
            });
            assert_eq!(patched_entry(&client_config, Some(&parsed), None), expected);
        }
    }

    #[test]
    fn all_entries_are_patched() {
        let ((_, ours), (_, others)) = (issue(), issue());
        let both = ours.clone().union(&others);
        let of =
            |authorities: &Authorities| json!({ "service": service(443), "caBundle": base64(authorities) });
        let mut stored = configuration(&[(ENTRIES[0], of(&both)), (ENTRIES[1], of(&ours))]);
        let read = super::read(&parse(&stored)).unwrap();
        assert_eq!((&read.trusted, &read.present, read.has_empty_bundle), (&ours, &both, false));
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
    fn called_hosts_are_read(#[case] client_config: Value, #[case] names: &[&str]) {
        let read = read(&parse(&configuration(&[(ENTRY, client_config)]))).unwrap();
        assert_eq!(read.names, names);
        assert!(read.has_empty_bundle && read.present.is_empty());
    }

    #[test]
    fn configuration_without_our_entry_is_not_patched() {
        let stored = parse(&configuration(&[]));
        assert_eq!(read(&stored).unwrap_err(), NoEntry);
        assert!(patch(&stored, None, Some(&issue().1)).is_none());
    }
}
