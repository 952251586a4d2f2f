//! The Secret that stores the generated certificate and its authority for all replicas.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
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

/// Writes the Secret; returns `false` if it has changed since it was observed.
pub(crate) async fn write(
    secrets: &Api<Secret>,
    observed: Option<&Secret>,
    issued: &Issued,
) -> Result<bool, String> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
    let data = Some(data(issued));
    let (verb, result) = match observed {
        // Its resourceVersion is the precondition.
        Some(secret) => {
            let secret = Secret { data, ..secret.clone() };
            ("update", with_deadline(secrets.replace(CERTIFICATE, &params, &secret)).await)
        }
        None => {
            let metadata = ObjectMeta { name: Some(CERTIFICATE.to_owned()), ..Default::default() };
            let secret = Secret { metadata, data, type_: Some(TYPE.to_owned()), ..Default::default() };
            ("create", with_deadline(secrets.create(&params, &secret)).await)
        }
    };
    match result {
        Ok(_) => Ok(true),
        // Created, changed or deleted by another client.
        Err(kube::Error::Api(status)) if status.code == 409 || observed.is_some() && status.code == 404 => {
            Ok(false)
        }
        Err(error) => {
            let reason = errors::line(&error);
            Err(format!("can't {verb} Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {reason}"))
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
