//! Third step: a token from the source.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use mcsa_client::SecretString;
use mcsa_client::credential::Credential;
use mcsa_client::secret::Provenance;
use mcsa_client::token::{Claims, request};

use crate::decide::refresh_time;
use crate::failure::{Failure, Reason};
use crate::resolve::Resolved;

/// A fresh credential. Only [`mint`] makes one.
#[derive(Debug)]
pub struct Minted {
    credential: Credential,
    provenance: Provenance,
}

impl Minted {
    /// What the consumer gets.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What is noted beside it.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

/// Mints a token of the import's service account, after making sure that the source is the one
/// that it should be.
///
/// # Errors
/// When the source does not answer, is another one, or refuses.
pub async fn mint(resolved: &Resolved, now: Timestamp) -> Result<Minted, Failure> {
    let Resolved { import, source, .. } = resolved;
    let spec = &import.spec;
    let mut cluster_uid = source.verify().await?;
    let request = request(spec.expiration_seconds, &spec.audiences, spec.bound_secret.as_deref());
    let answer = source.request_token(&spec.namespace, &spec.name, &request).await?;
    let token: SecretString = answer.status.map(|status| status.token).unwrap_or_default().into();
    let claims = Claims::of(&token).map_err(|error| {
        let account = format!("{}/{}", spec.namespace, spec.name);
        Failure::new(Reason::SourceFailed, format!("{} answered for {account}: {error}", spec.cluster_name))
    })?;
    let known = resolved.secret.as_ref().and_then(|secret| secret.provenance.as_ref());
    if known.is_some_and(|known| known.service_account_uid != claims.service_account_uid) {
        // The account was recreated, or another cluster answers by now.
        source.doubt();
        cluster_uid = source.verify().await?;
    }
    Ok(Minted {
        provenance: Provenance {
            expires_at: claims.expires_at,
            refresh_at: Some(refresh_time(now, lifetime(&claims), fastrand::f64())),
            service_account_uid: claims.service_account_uid,
            cluster_uid: Some(cluster_uid),
            fingerprint: resolved.fingerprint.clone(),
        },
        credential: Credential {
            name: import.name_any(),
            cluster_name: spec.cluster_name.clone(),
            endpoint: source.endpoint().clone(),
            namespace: spec.namespace.clone(),
            token,
        },
    })
}

/// How long the token was granted for, by the source's clock alone, so that a clock that differs
/// from ours does no harm.
fn lifetime(claims: &Claims) -> Duration {
    Duration::try_from(claims.expires_at.duration_since(claims.issued_at)).unwrap_or_default()
}
