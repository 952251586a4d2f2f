//! The formats of other programs: a kubeconfig, or a Secret with the name, labels and keys that the program reads.
//!
//! All are pure functions of an [`Exported`].

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
pub use mcsa_client::kubeconfig::Verification;

use crate::credential::Credential;

pub mod argo_cd;
pub mod argo_workflows;
pub mod kubeconfigs;

/// A credential to export.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// The credential. Its `cluster_name` is the name of the cluster for the consumer.
    pub credential: &'a Credential,
    /// The name of the service account.
    pub service_account: &'a str,
    /// Whether the consumer verifies the certificate of the source.
    pub verification: Verification,
}

impl Exported<'_> {
    fn cluster_name(&self) -> &str {
        &self.credential.cluster_name
    }

    fn is_insecure(&self) -> bool {
        self.verification == Verification::Nothing
    }
}

/// A Secret with these labels and values.
fn secret<const L: usize, const V: usize>(
    name: String,
    labels: [(&str, &str); L],
    values: [(&str, String); V],
) -> Secret {
    let labels: BTreeMap<_, _> =
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let values = values.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            ..Default::default()
        },
        type_: Some("Opaque".into()),
        data: Some(values.collect()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::tests::credential;

    /// Calls `check` with the test credential, with and without verification.
    pub(super) fn each(check: impl Fn(Exported<'_>)) {
        let credential = credential();
        for verification in [Verification::Certificate, Verification::Nothing] {
            check(Exported { credential: &credential, service_account: "pod-lister", verification });
        }
    }

    /// A value of a Secret, as text.
    pub(super) fn value(secret: &Secret, key: &str) -> String {
        let data = secret.data.as_ref().unwrap();
        assert_eq!(data.keys().filter(|other| *other == key).count(), 1, "{:?}", data.keys());
        String::from_utf8(data[key].0.clone()).unwrap()
    }
}
