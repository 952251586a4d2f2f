//! Token requests, and the claims of service account tokens (KEP-1205).
//!
//! The claims are not verified: only the API server that issued a token needs to verify them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// A TokenRequest. Without audiences, the token is for the API server. `bound_secret` is in the service account's
/// namespace.
pub fn request(expiration_seconds: i64, audiences: &[String], bound_secret: Option<&str>) -> TokenRequest {
    TokenRequest {
        spec: TokenRequestSpec {
            audiences: audiences.to_vec(),
            expiration_seconds: Some(expiration_seconds),
            bound_object_ref: bound_secret.map(|name| BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Secret".into()),
                name: Some(name.to_owned()),
                uid: None,
            }),
        },
        ..Default::default()
    }
}

/// The claims of a bound service account token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// When the source issued the token, by its clock.
    pub issued_at: Timestamp,
    /// When the token expires, by the source's clock.
    pub expires_at: Timestamp,
    /// Namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    /// UID of the service account. It changes when the service account is recreated.
    pub service_account_uid: String,
    /// The Secret that the token is bound to, if any.
    pub bound_secret: Option<BoundSecret>,
}

/// A Secret that a token is bound to: deleting it revokes the token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BoundSecret {
    /// Its name, in the namespace of the service account.
    pub name: String,
    /// Its UID. It changes when the Secret is recreated.
    pub uid: String,
}

/// The token is not one that a Kubernetes API server mints for a service account.
#[derive(Debug, thiserror::Error)]
#[error("not a bound service account token: {0}")]
pub struct NotAServiceAccountToken(&'static str);

impl Claims {
    /// Parses the claims of `token`.
    ///
    /// # Errors
    /// If it is not a JWT with the claims of a bound service account token. The error never quotes the token.
    pub fn parse(token: &SecretString) -> Result<Self, NotAServiceAccountToken> {
        let mut parts = token.expose_secret().split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAServiceAccountToken("it does not have the three parts of a JWT"));
        };
        let payload = URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| NotAServiceAccountToken("its payload is not base64url"))?;
        // Leaves out serde's message, which may quote the payload.
        let payload: Payload = serde_json::from_slice(&payload)
            .map_err(|_| NotAServiceAccountToken("its payload does not have the expected claims"))?;
        let time = |seconds| {
            Timestamp::from_second(seconds).map_err(|_| NotAServiceAccountToken("its times are out of range"))
        };
        Ok(Self {
            issued_at: time(payload.iat)?,
            expires_at: time(payload.exp)?,
            namespace: payload.kubernetes.namespace,
            service_account: payload.kubernetes.serviceaccount.name,
            service_account_uid: payload.kubernetes.serviceaccount.uid,
            bound_secret: payload.kubernetes.secret,
        })
    }
}

#[derive(Deserialize)]
struct Payload {
    iat: i64,
    exp: i64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Reference,
    secret: Option<BoundSecret>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    uid: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> SecretString {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)).into()
    }

    #[test]
    fn claims_are_parsed() {
        let claims = Claims::parse(&token(
            r#"{"iat":1000,"exp":4600,"kubernetes.io":{"namespace":"default","serviceaccount":{"name":"pod-lister","uid":"u-1"},"secret":{"name":"c1","uid":"u-2"}}}"#,
        ))
        .unwrap();
        assert_eq!(claims.issued_at.as_second(), 1000);
        assert_eq!(claims.expires_at.as_second(), 4600);
        assert_eq!((claims.namespace.as_str(), claims.service_account.as_str()), ("default", "pod-lister"));
        assert_eq!(claims.service_account_uid, "u-1");
        let bound = claims.bound_secret.unwrap();
        assert_eq!((bound.name.as_str(), bound.uid.as_str()), ("c1", "u-2"));
    }

    #[test]
    fn invalid_tokens_are_rejected_without_quoting_them() {
        for text in ["", "secret", "a.b", "a.b.c.d", "a.!!.c", "e30.bm8.x"] {
            let error = Claims::parse(&text.to_owned().into()).unwrap_err().to_string();
            assert!(error.starts_with("not a bound service account token"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
