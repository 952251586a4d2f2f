//! The Secret that stores the generated certificates for all replicas.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{CERTIFICATE, FIELD_MANAGER};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use secrecy::{ExposeSecret, SecretString};

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::{Certificate, Problem};
use crate::certificates::rotation::Stored;

const TYPE: &str = "kubernetes.io/tls";
const AUTHORITIES: &str = "ca.crt";
const CURRENT: Pair = ("tls.crt", "tls.key");
const NEXT: Pair = ("next.crt", "next.key");

/// Keys of a certificate and of its private key.
type Pair = (&'static str, &'static str);

/// A call to the API server failed.
#[derive(Debug, thiserror::Error)]
#[error("can't {verb} Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {reason}")]
pub(crate) struct SecretStoreError {
    verb: &'static str,
    reason: String,
}

#[derive(Clone)]
pub(crate) struct SecretStore {
    secrets: Api<Secret>,
}

impl SecretStore {
    pub(crate) fn new(client: Client) -> Self {
        Self { secrets: Api::namespaced(client, SYSTEM_NAMESPACE) }
    }

    /// For watching the Secret.
    pub(crate) fn api(&self) -> Api<Secret> {
        self.secrets.clone()
    }

    /// Whether the Secret is still the observed one.
    pub(crate) async fn is_current(&self, observed: Option<&Secret>) -> Result<bool, SecretStoreError> {
        let found = self.call("get", self.secrets.get_opt(CERTIFICATE)).await?.flatten();
        let version = |secret: &Secret| (secret.uid(), secret.resource_version());
        Ok(found.as_ref().map(version) == observed.map(version))
    }

    /// Writes the Secret; returns `false` if it has changed since it was observed.
    pub(crate) async fn write(
        &self,
        observed: Option<&Secret>,
        stored: &Stored,
    ) -> Result<bool, SecretStoreError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
        let data = Some(data(stored));
        let written = match observed {
            // Its resourceVersion is the precondition.
            Some(secret) => {
                let secret = Secret { data, ..secret.clone() };
                self.call("update", self.secrets.replace(CERTIFICATE, &params, &secret)).await?
            }
            None => {
                let metadata = ObjectMeta { name: Some(CERTIFICATE.to_owned()), ..Default::default() };
                let secret = Secret { metadata, data, type_: Some(TYPE.to_owned()), ..Default::default() };
                self.call("create", self.secrets.create(&params, &secret)).await?
            }
        };
        Ok(written.is_some())
    }

    /// Awaits a call; `None` if another write came first.
    async fn call<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, SecretStoreError> {
        match with_deadline(call).await {
            Ok(result) => Ok(Some(result)),
            // Created, changed or deleted by another client.
            Err(kube::Error::Api(status)) if verb != "get" && status.code == 409 => Ok(None),
            Err(kube::Error::Api(status)) if verb == "update" && status.is_not_found() => Ok(None),
            Err(error) => Err(SecretStoreError { verb, reason: errors::line(&error) }),
        }
    }
}

pub(crate) fn read(secret: &Secret) -> Stored {
    let value = |key| secret.data.as_ref().and_then(|data: &BTreeMap<_, ByteString>| data.get(key));
    let text = |key: &'static str| {
        let text = value(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
        text.ok_or(Problem::Unreadable(key))
    };
    let pair = |(chain, key): Pair| Certificate::read(&text(chain)?, SecretString::from(text(key)?));
    let has_next = value(NEXT.0).or(value(NEXT.1)).is_some();
    Stored {
        authorities: value(AUTHORITIES).map(|pem| Authorities::read(&pem.0)).unwrap_or_default(),
        current: pair(CURRENT),
        next: has_next.then(|| pair(NEXT)),
    }
}

fn data(stored: &Stored) -> BTreeMap<String, ByteString> {
    let mut data = BTreeMap::new();
    let mut put = |key: &str, text: &str| data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
    put(AUTHORITIES, &stored.authorities.pem());
    let next = stored.next.as_ref();
    for (pair, certificate) in [(CURRENT, Some(&stored.current)), (NEXT, next)] {
        if let Some(Ok(certificate)) = certificate {
            put(pair.0, &certificate.chain);
            put(pair.1, certificate.key.expose_secret());
        }
    }
    data
}

#[cfg(test)]
mod tests;
