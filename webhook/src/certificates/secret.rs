//! The Secret that stores the generated certificate and its authority for all replicas.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{CERTIFICATE, FIELD_MANAGER};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use secrecy::{ExposeSecret, SecretString};

use crate::certificates::authority::Authority;
use crate::certificates::certificate::Certificate;
use crate::certificates::decide::{Issued, Stored};
use crate::certificates::problem::Problem;

const TYPE: &str = "kubernetes.io/tls";

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

    /// Writes the Secret; returns `false` if it has changed since it was observed.
    pub(crate) async fn write(
        &self,
        observed: Option<&Secret>,
        issued: &Issued,
    ) -> Result<bool, SecretStoreError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
        let data = Some(data(issued));
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
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(kube::Error::Api(status)) if verb == "update" && status.is_not_found() => Ok(None),
            Err(error) => Err(SecretStoreError { verb, reason: errors::line(&error) }),
        }
    }
}

pub(crate) fn read(secret: &Secret) -> Stored {
    let text = |key: &'static str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        let text = value.and_then(|value| String::from_utf8(value.0.clone()).ok());
        text.ok_or(Problem::Unreadable(key))
    };
    let key = |key| text(key).map(SecretString::from);
    let authority = || Authority::read(&text("ca.crt")?, key("ca.key")?);
    let certificate = || Certificate::read(&text("tls.crt")?, key("tls.key")?);
    Stored { authority: authority(), certificate: certificate() }
}

fn data(Issued { authority, certificate }: &Issued) -> BTreeMap<String, ByteString> {
    let values = [
        ("ca.crt", authority.certificates().pem()),
        ("ca.key", authority.key.expose_secret().to_owned()),
        ("tls.crt", certificate.chain.clone()),
        ("tls.key", certificate.key.expose_secret().to_owned()),
    ];
    values.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()
}

#[cfg(test)]
mod tests;
