//! Third step: a token from the source.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcsa_client::SecretString;
use mcsa_client::system::credential::Credential;
use mcsa_client::system::secret::Provenance;
use mcsa_client::system::token::{Claims, request};

use crate::clock::after;
use crate::decide::refresh_time;
use crate::model::account::Account;
use crate::model::failure::{Failure, Reason};
use crate::resolve::Resolved;
use crate::source::{Admission, is_uid};

/// A fresh credential. Only [`mint`] makes one.
#[derive(Debug)]
pub struct Minted {
    credential: Credential,
    provenance: Provenance,
    lifetime: Duration,
}

impl Minted {
    /// What the consumer gets.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Whether it still is what would be minted now, as far as the source has told of the service account.
    pub fn is_good_for(&self, resolved: &Resolved, account: Option<&Account>, now: Timestamp) -> bool {
        let Provenance { fingerprint, refresh_at, cluster_uid, .. } = &self.provenance;
        let pinned = &resolved.cluster_uid;
        *fingerprint == resolved.fingerprint
            && refresh_at.is_some_and(|time| time > now)
            && (pinned.is_none() || pinned == cluster_uid)
            && account.is_none_or(|account| account.allows(&self.provenance.service_account_uid))
    }

    /// How long the source lets it live.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
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
    let admission = source.admit()?;
    let mut cluster_uid = identified(resolved, admission).await?;
    let account = import.account_key();
    let request = request(spec.expiration_seconds, &spec.audiences, spec.bound_secret.as_deref());
    let answer = source.request_token(admission, &account, &request).await?;
    let (token, granted_until) =
        answer.status.map(|status| (status.token, status.expiration_timestamp.0)).unwrap_or_default();
    let token: SecretString = token.into();
    let claims = Claims::of(&token).map_err(|error| {
        Failure::new(Reason::SourceFailed, format!("{} answered for {account}: {error}", spec.cluster_name))
    })?;
    if (&claims.namespace, &claims.service_account) != (&spec.namespace, &spec.name) {
        let message = format!(
            "{} answered with a token of {}/{} instead of {account}",
            spec.cluster_name, claims.namespace, claims.service_account
        );
        return Err(Failure::new(Reason::SourceFailed, message));
    }
    if !is_uid(&claims.service_account_uid) {
        let message = format!("{} answered for {account} with what is no UID", spec.cluster_name);
        return Err(Failure::new(Reason::SourceFailed, message));
    }
    let known = resolved.secret.as_ref().and_then(|secret| secret.provenance.as_ref());
    let is_recreated = known.is_some_and(|known| known.service_account_uid != claims.service_account_uid);
    if is_recreated || source.is_doubtful() {
        // Another cluster may have answered: then its token goes nowhere.
        source.doubt();
        cluster_uid = identified(resolved, admission).await?;
    }
    // By the source's clock alone, and added to ours: clocks that differ do no harm. The claims may
    // promise more than was granted: an API server may extend tokens of 3607 seconds to a year, for
    // clients that never reload one.
    let until = claims.expires_at.min(granted_until);
    let lifetime =
        until.duration_since(claims.issued_at).min(SignedDuration::from_secs(spec.expiration_seconds));
    let lifetime = Duration::try_from(lifetime).unwrap_or_default();
    Ok(Minted {
        lifetime,
        provenance: Provenance {
            expires_at: after(now, lifetime),
            refresh_at: Some(refresh_time(now, lifetime, fastrand::f64())),
            service_account_uid: claims.service_account_uid,
            cluster_uid: Some(cluster_uid),
            fingerprint: resolved.fingerprint.clone(),
        },
        credential: Credential {
            name: import.key.name().to_owned(),
            cluster_name: spec.cluster_name.clone(),
            endpoint: source.endpoint().clone(),
            namespace: spec.namespace.clone(),
            token,
        },
    })
}

/// The UID of the cluster that answers, if it is the one that the link was made for.
async fn identified(resolved: &Resolved, admission: Admission) -> Result<String, Failure> {
    let Resolved { import, source, cluster_uid: pinned, .. } = resolved;
    let uid = source.cluster_uid(admission).await?;
    match pinned {
        Some(pinned) if *pinned != uid => {
            let failure =
                Failure::other_cluster(&import.spec.cluster_name, &source.endpoint().server, &uid, pinned);
            source.mistrust(admission, &failure);
            Err(failure)
        }
        _ => Ok(uid),
    }
}
