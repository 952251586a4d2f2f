//! Third step: a token from the source.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use mcsa_client::SecretString;
use mcsa_client::contract::SYSTEM_NAMESPACE;
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

    /// Whether it still is what would be minted now.
    pub fn is_good_for(&self, resolved: &Resolved, now: Timestamp) -> bool {
        let Provenance { fingerprint, refresh_at, cluster_uid, .. } = &self.provenance;
        let pinned = &resolved.cluster_uid;
        *fingerprint == resolved.fingerprint
            && refresh_at.is_some_and(|time| time > now)
            && (pinned.is_none() || pinned == cluster_uid)
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
    let mut cluster_uid = identified(resolved).await?;
    let request = request(spec.expiration_seconds, &spec.audiences, spec.bound_secret.as_deref());
    let answer = source.request_token(&spec.namespace, &spec.name, &request).await?;
    let token: SecretString = answer.status.map(|status| status.token).unwrap_or_default().into();
    let claims = Claims::of(&token).map_err(|error| {
        let account = format!("{}/{}", spec.namespace, spec.name);
        Failure::new(Reason::SourceFailed, format!("{} answered for {account}: {error}", spec.cluster_name))
    })?;
    if (&claims.namespace, &claims.service_account) != (&spec.namespace, &spec.name) {
        let message = format!(
            "{} answered with a token of {}/{} instead of {}/{}",
            spec.cluster_name, claims.namespace, claims.service_account, spec.namespace, spec.name
        );
        return Err(Failure::new(Reason::SourceFailed, message));
    }
    let known = resolved.secret.as_ref().and_then(|secret| secret.provenance.as_ref());
    if known.is_some_and(|known| known.service_account_uid != claims.service_account_uid) {
        // The account was recreated, or another cluster answers by now.
        source.doubt();
        cluster_uid = identified(resolved).await?;
    }
    // By the source's clock alone, and added to ours: clocks that differ do no harm.
    let lifetime = Duration::try_from(claims.expires_at.duration_since(claims.issued_at)).unwrap_or_default();
    Ok(Minted {
        provenance: Provenance {
            expires_at: now.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
            refresh_at: Some(refresh_time(now, lifetime, fastrand::f64())),
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

/// The UID of the cluster that answers, if it is the one that the link was made for.
async fn identified(resolved: &Resolved) -> Result<String, Failure> {
    let Resolved { import, source, cluster_uid: pinned, .. } = resolved;
    let uid = source.cluster_uid().await?;
    match pinned {
        Some(pinned) if *pinned != uid => Err(Failure::new(
            Reason::ClusterIdentityMismatch,
            format!(
                "the cluster at {} has the UID {uid}, but the link {cluster} was made for {pinned}; if it was \
                 replaced on purpose, delete import {SYSTEM_NAMESPACE}/{cluster} and run kubemcsa bootstrap again",
                source.endpoint().server,
                cluster = import.spec.cluster_name,
            ),
        )),
        _ => Ok(uid),
    }
}
