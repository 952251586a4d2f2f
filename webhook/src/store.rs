//! The Secret by which replicas and restarts share one certificate.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::contract::webhook::CERTIFICATE;
use mcsa_runtime::errors;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tracing::info;

use crate::FIELD_MANAGER;
use crate::certificate::Certificate;

const TYPE: &str = "kubernetes.io/tls";
const CA: &str = "ca.crt";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often another replica may be faster, in one go.
const ATTEMPTS: usize = 5;

/// The shared certificate could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A call to the API server failed.
    #[error("can't {verb} Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {reason}")]
    Call {
        /// What was tried.
        verb: &'static str,
        /// What came of it.
        reason: String,
    },
    /// No certificate could be made.
    #[error("can't make a certificate for {names}: {error}")]
    Make {
        /// For these names.
        names: String,
        /// Why not.
        error: rcgen::Error,
    },
    /// Someone else wrote the Secret, each time.
    #[error(
        "Secret {SYSTEM_NAMESPACE}/{CERTIFICATE} is being changed by others all the time; is another program using it?"
    )]
    Contended,
}

/// Where the certificate is kept.
pub struct Store {
    secrets: Api<Secret>,
    names: Vec<String>,
}

impl Store {
    /// The Secret of this cluster, with a certificate for these names.
    pub fn new(client: Client, names: Vec<String>) -> Self {
        Self { secrets: Api::namespaced(client, SYSTEM_NAMESPACE), names }
    }

    /// A certificate that no other replica has: to serve something with until [`Self::shared`] is
    /// had.
    ///
    /// # Errors
    /// When the names are none that a certificate can have.
    pub fn unshared(&self) -> Result<Certificate, StoreError> {
        Certificate::make(&self.names, Timestamp::now())
            .map_err(|error| StoreError::Make { names: self.names.join(", "), error })
    }

    /// The certificate that all replicas share: the one in the Secret, or, if there is something
    /// wrong with it, a new one.
    ///
    /// # Errors
    /// When the Secret can't be read or written.
    pub async fn shared(&self) -> Result<Certificate, StoreError> {
        for _ in 0..ATTEMPTS {
            let stored = self.call("get", self.secrets.get_opt(CERTIFICATE)).await?.flatten();
            let reason = match stored.as_ref().map(read) {
                None => "there was none".to_owned(),
                Some(Err(key)) => format!("the Secret had no {key}"),
                Some(Ok(certificate)) => match certificate.problem(&self.names, Timestamp::now()) {
                    None => return Ok(certificate),
                    Some(problem) => problem.to_string(),
                },
            };
            let made = self.unshared()?;
            if self.write(stored, &made).await? {
                info!(secret = CERTIFICATE, names = self.names.join(", "), reason, "made a certificate");
                return Ok(made);
            }
        }
        Err(StoreError::Contended)
    }

    /// Whether it was written, and no other replica was faster.
    async fn write(&self, stored: Option<Secret>, made: &Certificate) -> Result<bool, StoreError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
        let data = Some(data(made));
        let written = match stored {
            // Its resourceVersion goes along: it is the precondition.
            Some(secret) => {
                let secret = Secret { data, ..secret };
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

    /// What the call gave; nothing if another replica's write was in between.
    async fn call<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, StoreError> {
        match timeout(DEADLINE, call).await {
            Ok(Ok(result)) => Ok(Some(result)),
            // Gone between our two calls, there before our create, changed before our update.
            Ok(Err(kube::Error::Api(status))) if verb != "get" && status.code == 409 => Ok(None),
            Ok(Err(kube::Error::Api(status))) if verb == "update" && status.is_not_found() => Ok(None),
            Ok(Err(error)) => Err(StoreError::Call { verb, reason: errors::line(&error) }),
            Err(_) => {
                Err(StoreError::Call { verb, reason: "the API server did not answer in time".to_owned() })
            }
        }
    }
}

/// The certificate in the Secret, or the key that it lacks.
fn read(secret: &Secret) -> Result<Certificate, &'static str> {
    let value = |key: &'static str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key)).ok_or(key)?;
        String::from_utf8(value.0.clone()).map_err(|_| key)
    };
    Ok(Certificate { ca: value(CA)?, chain: value(CHAIN)?, key: SecretString::from(value(KEY)?) })
}

fn data(certificate: &Certificate) -> BTreeMap<String, ByteString> {
    let values =
        [(CA, certificate.ca.as_str()), (CHAIN, &certificate.chain), (KEY, certificate.key.expose_secret())];
    values.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
}

#[cfg(test)]
mod tests;
