//! Third step: request a token from the source.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcsa_credentials::SecretString;
use mcsa_credentials::credential::Credential;
use mcsa_credentials::secret::Provenance;
use mcsa_credentials::token::{Claims, request};

use crate::clock::after;
use crate::decide::refresh_time;
use crate::model::account::Account;
use crate::model::failure::{Failure, Reason};
use crate::resolve::Resolved;
use crate::source::{Admission, Session, is_uid};

/// A new credential. Only [`mint`] creates one.
#[derive(Debug)]
pub struct Minted {
    credential: Credential,
    provenance: Provenance,
    lifetime: Duration,
}

impl Minted {
    /// The content of the Secret.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Whether the import would still get an equivalent token.
    pub fn is_still_valid(&self, resolved: &Resolved, account: Option<&Account>, now: Timestamp) -> bool {
        let Provenance { fingerprint, refresh_at, cluster_uid, .. } = &self.provenance;
        let pinned = &resolved.cluster_uid;
        *fingerprint == resolved.fingerprint
            && refresh_at.is_some_and(|time| time > now)
            && (pinned.is_none() || pinned == cluster_uid)
            && account.is_none_or(|account| account.allows(&self.provenance.service_account_uid))
    }

    /// The lifetime that the source granted.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The Secret's annotations about the token.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

/// Mints a token for the import's service account, after verifying the source's identity.
///
/// # Errors
/// If the source does not respond, is another cluster, or refuses.
pub async fn mint(resolved: &Resolved, now: Timestamp) -> Result<Minted, Failure> {
    let source = &resolved.source;
    let admission = source.admit()?;
    let mut session = source.session()?;
    let minted = mint_with(&mut session, resolved, admission, now).await;
    source.keep_session(session);
    minted
}

async fn mint_with(
    session: &mut Session,
    resolved: &Resolved,
    admission: Admission,
    now: Timestamp,
) -> Result<Minted, Failure> {
    let Resolved { import, source, .. } = resolved;
    let spec = &import.spec;
    verified_uid(session, resolved, admission).await?;
    let account = import.account_key();
    let request = request(spec.expiration_seconds, &spec.audiences, spec.bound_secret.as_deref());
    let response = source.request_token(admission, session, &account, &request).await?;
    let connection = session.connection();
    let (token, granted_until) =
        response.status.map(|status| (status.token, status.expiration_timestamp.0)).unwrap_or_default();
    let token: SecretString = token.into();
    let claims = Claims::parse(&token).map_err(|error| {
        Failure::new(
            Reason::SourceFailed,
            format!("{} returned an unusable token for {account}: {error}", spec.cluster_name),
        )
    })?;
    if (&claims.namespace, &claims.service_account) != (&spec.namespace, &spec.name) {
        let message = format!(
            "{} returned a token for {}/{} instead of {account}",
            spec.cluster_name, claims.namespace, claims.service_account
        );
        return Err(Failure::new(Reason::SourceFailed, message));
    }
    if !is_uid(&claims.service_account_uid) {
        let message = format!(
            "{} returned a token for {account} with an invalid service account UID",
            spec.cluster_name
        );
        return Err(Failure::new(Reason::SourceFailed, message));
    }
    let known = resolved.secret.as_ref().and_then(|secret| secret.provenance.as_ref());
    let is_recreated = known.is_some_and(|known| known.service_account_uid != claims.service_account_uid);
    if is_recreated {
        source.recheck_identity();
    }
    // The token may have arrived over another connection than the UID, and from another cluster. Then the UID is
    // requested again.
    let cluster_uid = verified_uid(session, resolved, admission).await?;
    if connection == 0 || session.connection() != connection {
        let message = format!(
            "the connection to {} was closed before the importer could verify over it which cluster issued the token; \
             if this happens repeatedly, let the proxies in front of the source keep connections open",
            spec.cluster_name
        );
        return Err(Failure::new(Reason::SourceFailed, message));
    }
    // The lifetime by the source's clock, added to the importer's: clocks may differ. The claims may exceed
    // what was granted: API servers may extend tokens of 3607 seconds to a year, for clients that never
    // reload them.
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

/// The UID of the cluster that sent the session's last response, if it is the one that the link pins.
async fn verified_uid(
    session: &mut Session,
    resolved: &Resolved,
    admission: Admission,
) -> Result<String, Failure> {
    let Resolved { import, source, cluster_uid: pinned, .. } = resolved;
    let uid = source.cluster_uid(admission, session).await?;
    match pinned {
        Some(pinned) if *pinned != uid => {
            let failure = Failure::other_cluster(&import.spec.cluster_name, &source.address(), &uid, pinned);
            source.reject_identity(admission, &failure);
            Err(failure)
        }
        _ => Ok(uid),
    }
}

#[cfg(test)]
mod tests;
