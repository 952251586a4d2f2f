//! The Secret of an import.

mod metadata;
mod state;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use mcsa_client::api::{ServiceAccountImport, ServiceAccountImportSpec};

use crate::contract;
use crate::credential::{Credential, Endpoint, FormatError};
use crate::names::short_hash;

pub use metadata::SecretMetadata;
pub use state::{Names, Owner, SecretState};

/// Facts about the token in a Secret, stored in annotations of the Secret. A restarted importer reads them instead of
/// the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// When the token expires, by the writer's clock.
    pub expires_at: Timestamp,
    /// When to replace the token, by the importer's clock. `None`: at once, because the importer did not write the
    /// Secret.
    pub refresh_at: Option<Timestamp>,
    /// UID of the service account.
    pub service_account_uid: String,
    /// UID of the source, if it is known.
    pub cluster_uid: Option<String>,
    /// The [`fingerprint`] of the Secret's inputs.
    pub fingerprint: String,
}

/// Longest annotation that is read: ours are shorter, and anyone who may write a Secret can write longer ones.
const VALUE_MAX: usize = 253;

impl Provenance {
    /// The annotations.
    pub(crate) const KEYS: [&str; 5] = [
        contract::EXPIRATION_TIME,
        contract::REFRESH_TIME,
        contract::SERVICE_ACCOUNT_UID,
        contract::CLUSTER_UID,
        contract::FINGERPRINT,
    ];

    /// Reads the annotations of a Secret. `None`: one is missing or invalid.
    pub fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let value = |key| annotations.get(key).filter(|value| value.len() <= VALUE_MAX);
        let time = |key| value(key)?.parse().ok();
        Some(Self {
            expires_at: time(contract::EXPIRATION_TIME)?,
            refresh_at: time(contract::REFRESH_TIME),
            service_account_uid: value(contract::SERVICE_ACCOUNT_UID)?.clone(),
            cluster_uid: value(contract::CLUSTER_UID).cloned(),
            fingerprint: value(contract::FINGERPRINT)?.clone(),
        })
    }

    fn annotations(&self) -> impl Iterator<Item = (String, String)> {
        [
            (contract::EXPIRATION_TIME, Some(self.expires_at.to_string())),
            (contract::REFRESH_TIME, self.refresh_at.map(|time| time.to_string())),
            (contract::SERVICE_ACCOUNT_UID, Some(self.service_account_uid.clone())),
            (contract::CLUSTER_UID, self.cluster_uid.clone()),
            (contract::FINGERPRINT, Some(self.fingerprint.clone())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    }
}

/// A digest of the inputs of an import's Secret, without the token. If it differs from the one in the Secret's
/// annotation, the Secret is outdated.
pub fn fingerprint(spec: &ServiceAccountImportSpec, link: bool, endpoint: &Endpoint) -> String {
    let Endpoint { server, ca_bundle, tls_server_name, proxy_url } = endpoint;
    let inputs = serde_json::json!([spec, link, server, ca_bundle, tls_server_name, proxy_url]);
    short_hash(inputs.to_string().as_bytes(), 16)
}

/// Builds the Secret of `import`.
///
/// # Errors
/// If a kubeconfig can't be written.
pub fn build(
    import: &ServiceAccountImport,
    credential: &Credential,
    provenance: &Provenance,
) -> Result<Secret, FormatError> {
    let SecretMetadata { labels, mut annotations } = SecretMetadata::of(import);
    annotations.extend(provenance.annotations());
    let items = import.spec.secret.as_ref().map_or(&[][..], |template| &template.items);
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(import.secret_name()),
            namespace: import.namespace(),
            owner_references: import.owner_reference().map(|owner| vec![owner]),
            labels: Some(labels),
            annotations: Some(annotations),
            ..Default::default()
        },
        type_: Some("Opaque".into()),
        data: Some(credential.data(items)?),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::credential;
    use mcsa_client::api::SecretTemplate;

    fn import(namespace: &str) -> ServiceAccountImport {
        let mut import = ServiceAccountImport::new("c2-pod-lister", ServiceAccountImportSpec::default());
        import.metadata.namespace = Some(namespace.into());
        import.metadata.uid = Some("u-1".into());
        import
    }

    fn provenance() -> Provenance {
        Provenance {
            expires_at: Timestamp::from_second(4600).unwrap(),
            refresh_at: Timestamp::from_second(3600).ok(),
            service_account_uid: "u-2".into(),
            cluster_uid: Some("u-3".into()),
            fingerprint: "f".into(),
        }
    }

    #[test]
    fn provenance_can_be_read_back() {
        let secret = build(&import("default"), &credential(), &provenance()).unwrap();
        assert_eq!(Provenance::read(secret.annotations()), Some(provenance()));
        assert_eq!(secret.owner_references()[0].controller, Some(true));
    }

    #[test]
    fn a_template_cannot_replace_our_labels_and_annotations() {
        let mut import = import("default");
        let ours =
            [contract::IMPORT_NAME, contract::LINK_LABEL, contract::EXPIRATION_TIME, contract::CLUSTER_UID];
        let forged: BTreeMap<_, _> = ours.iter().map(|key| (key.to_string(), "true".to_owned())).collect();
        import.spec.secret =
            Some(SecretTemplate { labels: forged.clone(), annotations: forged, ..Default::default() });
        let secret = build(&import, &credential(), &provenance()).unwrap();
        assert_eq!(secret.labels()[contract::IMPORT_NAME], "c2-pod-lister");
        assert!(!secret.labels().contains_key(contract::LINK_LABEL));
        assert_eq!(Provenance::read(secret.annotations()), Some(provenance()));
    }

    #[test]
    fn only_a_labelled_import_of_the_system_namespace_makes_a_link() {
        let mut import = import("default");
        import.metadata.labels = Some([(contract::LINK_LABEL.to_owned(), "true".to_owned())].into());
        let labels =
            |import: &_| build(import, &credential(), &provenance()).unwrap().metadata.labels.unwrap();
        assert!(!labels(&import).contains_key(contract::LINK_LABEL));
        import.metadata.namespace = Some(contract::SYSTEM_NAMESPACE.into());
        assert!(labels(&import).contains_key(contract::LINK_LABEL));
    }

    #[test]
    fn the_fingerprint_changes_with_each_input() {
        let (spec, endpoint) = (ServiceAccountImportSpec::default(), credential().endpoint);
        let base = fingerprint(&spec, false, &endpoint);
        let moved = Endpoint { server: "https://elsewhere".into(), ..endpoint.clone() };
        let recertified = Endpoint { ca_bundle: Some("other".into()), ..endpoint.clone() };
        let longer = ServiceAccountImportSpec { expiration_seconds: 7200, ..spec.clone() };
        for other in [
            fingerprint(&spec, false, &moved),
            fingerprint(&spec, false, &recertified),
            fingerprint(&longer, false, &endpoint),
            fingerprint(&spec, true, &endpoint),
        ] {
            assert_ne!(base, other);
        }
    }
}
