//! Whether the source rejects a token before its time is up.

use mcsa_credentials::secret::SecretState;

use crate::clock::seconds;
use crate::model::account::Account;
use crate::model::failure::{Failure, Reason};
use crate::model::status::StatusSummary;

/// What is known about the token in a Secret.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Digest of the inputs that the Secret should be built from. `None`: there is no link.
    pub fingerprint: Option<&'a str>,
    /// The source's report about the service account, if it invalidates the token.
    pub account: Option<&'a Account>,
    /// Why the refresh failed.
    pub failure: Option<&'a Failure>,
    /// The status before this reconciliation. `None` if the reconciliation has replaced the token: the status has only
    /// its times, in seconds, so it could be mistaken for one that was minted in the same second.
    pub before: Option<&'a StatusSummary>,
}

/// Why the source rejects the token in the Secret: its service account or its bound Secret is gone.
pub fn revocation(secret: &SecretState, evidence: Evidence<'_>) -> Option<Reason> {
    let Evidence { fingerprint, account, failure, before } = evidence;
    let token = secret.provenance.as_ref()?;
    // What is missing for a new spec does not concern a token of the old one.
    if fingerprint == Some(token.fingerprint.as_str()) {
        if account.is_some_and(|account| !account.allows(&token.service_account_uid)) {
            return Some(Reason::ServiceAccountNotFound);
        }
        if let Some(Failure {
            reason: gone @ (Reason::ServiceAccountNotFound | Reason::BoundSecretNotFound),
            ..
        }) = failure
        {
            return Some(*gone);
        }
    }
    // A revoked token stays revoked: neither an outage nor a restart of the importer restores it.
    let is_same_token = |before: &&StatusSummary| {
        before.expires_at == Some(seconds(token.expires_at))
            && before.refresh_at == token.refresh_at.map(seconds)
    };
    let ready = before.filter(is_same_token)?.ready.filter(|ready| !ready.status)?;
    let reasons = [Reason::ServiceAccountNotFound, Reason::BoundSecretNotFound];
    reasons.into_iter().find(|reason| reason.as_str() == ready.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use mcsa_client::ServiceAccountImportStatus;
    use mcsa_credentials::contract;
    use rstest::rstest;
    use serde_json::json;

    const EXPIRY: &str = "2026-01-01T01:00:00.5Z";

    const REFRESH: &str = "2026-01-01T00:45:00.5Z";

    /// The summary of a status with this condition `Ready`, about a token with these times.
    fn summary(status: &str, reason: &str, [expires_at, refresh_at]: [&str; 2]) -> StatusSummary {
        let [expires_at, refresh_at] =
            [expires_at, refresh_at].map(|time| seconds(time.parse::<Timestamp>().unwrap()).to_string());
        let status: ServiceAccountImportStatus = serde_json::from_value(json!({
            "conditions": [{ "type": "Ready", "status": status, "reason": reason, "message": "",
                             "lastTransitionTime": "2026-01-01T00:00:00Z" }],
            "expirationTime": expires_at,
            "refreshTime": refresh_at,
        }))
        .unwrap();
        StatusSummary::of(Some(&status))
    }

    fn secret() -> SecretState {
        let metadata = json!({ "annotations": {
            contract::EXPIRATION_TIME: EXPIRY,
            contract::REFRESH_TIME: REFRESH,
            contract::SERVICE_ACCOUNT_UID: "sa",
            contract::FINGERPRINT: "f",
        } });
        SecretState::read(&serde_json::from_value(metadata).unwrap())
    }

    fn valid() -> StatusSummary {
        summary("True", "TokenValid", [EXPIRY, REFRESH])
    }

    #[rstest]
    #[case::valid(Some("f"), None, None, valid(), None)]
    #[case::source_is_away(Some("f"), None, Some(Reason::SourceUnreachable), valid(), None)]
    #[case::account_deleted(Some("f"), Some(Account::Deleted("sa".into())), Some(Reason::SourceUnreachable), valid(), Some(Reason::ServiceAccountNotFound))]
    #[case::account_recreated(Some("f"), Some(Account::Exists("other".into())), Some(Reason::Forbidden), valid(), Some(Reason::ServiceAccountNotFound))]
    #[case::new_token_after_that(Some("f"), Some(Account::Exists("sa".into())), None, valid(), None)]
    #[case::no_account(
        Some("f"),
        None,
        Some(Reason::ServiceAccountNotFound),
        valid(),
        Some(Reason::ServiceAccountNotFound)
    )]
    #[case::no_bound_secret(
        Some("f"),
        None,
        Some(Reason::BoundSecretNotFound),
        valid(),
        Some(Reason::BoundSecretNotFound)
    )]
    #[case::new_spec_names_no_account(Some("g"), Some(Account::Deleted("sa".into())), Some(Reason::ServiceAccountNotFound), valid(), None)]
    #[case::no_link(None, None, Some(Reason::ClusterNotLinked), valid(), None)]
    #[case::known_before_an_outage(
        Some("f"),
        None,
        Some(Reason::SourceUnreachable),
        summary("False", "BoundSecretNotFound", [EXPIRY, REFRESH]),
        Some(Reason::BoundSecretNotFound)
    )]
    #[case::known_before_the_link_was_deleted(
        None,
        None,
        Some(Reason::ClusterNotLinked),
        summary("False", "ServiceAccountNotFound", [EXPIRY, REFRESH]),
        Some(Reason::ServiceAccountNotFound)
    )]
    #[case::known_before_a_restart(
        Some("f"),
        None,
        None,
        summary("False", "ServiceAccountNotFound", [EXPIRY, REFRESH]),
        Some(Reason::ServiceAccountNotFound)
    )]
    #[case::known_of_another_token(
        Some("f"),
        None,
        None,
        summary("False", "ServiceAccountNotFound", ["2026-01-01T00:30:00Z", REFRESH]),
        None
    )]
    #[case::known_of_a_token_of_the_same_second(
        Some("f"),
        None,
        None,
        summary("False", "ServiceAccountNotFound", [EXPIRY, "2026-01-01T00:45:01.5Z"]),
        None
    )]
    #[case::edited_before(Some("f"), None, None, summary("False", "SecretEdited", [EXPIRY, REFRESH]), None)]
    fn token_is_revoked_with_its_account_or_bound_secret(
        #[case] fingerprint: Option<&str>,
        #[case] account: Option<Account>,
        #[case] failure: Option<Reason>,
        #[case] before: StatusSummary,
        #[case] expected: Option<Reason>,
    ) {
        let failure = failure.map(|reason| Failure::new(reason, "what is wrong"));
        let (account, failure, before) = (account.as_ref(), failure.as_ref(), Some(&before));
        assert_eq!(revocation(&secret(), Evidence { fingerprint, account, failure, before }), expected);
    }

    #[test]
    fn token_that_was_just_replaced_is_not_revoked() {
        let before = summary("False", "ServiceAccountNotFound", [EXPIRY, REFRESH]);
        let evidence = |before| Evidence { fingerprint: Some("f"), account: None, failure: None, before };
        assert_eq!(revocation(&secret(), evidence(None)), None);
        assert_eq!(revocation(&secret(), evidence(Some(&before))), Some(Reason::ServiceAccountNotFound));
    }
}
