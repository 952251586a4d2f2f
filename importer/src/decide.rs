//! Second step: is a token due now, or when?

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use mcsa_credentials::secret::{SecretMetadata, SecretState};

use crate::clock::after;
use crate::model::account::Account;

/// Shortest refresh interval, however short the granted tokens are.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// Tolerated clock difference between two replicas.
const SLACK: Duration = Duration::from_secs(60);

/// What to do about an import now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Mint a token.
    Mint(MintReason),
    /// Restore labels and annotations of the Secret, and do nothing else before this time. The token stays.
    Restore(Timestamp),
    /// Do nothing before this time.
    Wait(Timestamp),
}

/// Why a token is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MintReason {
    /// There is no Secret yet.
    Missing,
    /// The Secret was deleted.
    Lost,
    /// Another client wrote the Secret.
    Edited,
    /// The import or the link changed.
    Changed,
    /// Bootstrap created the Secret.
    TakenOver,
    /// The refresh time has come.
    TimeIsUp,
    /// The service account was deleted, and perhaps recreated.
    Recreated,
    /// The clock was set back since the token was minted.
    ClockSetBack,
}

impl MintReason {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::Lost => "Lost",
            Self::Edited => "Edited",
            Self::Changed => "Changed",
            Self::TakenOver => "TakenOver",
            Self::TimeIsUp => "TimeIsUp",
            Self::Recreated => "Recreated",
            Self::ClockSetBack => "ClockSetBack",
        }
    }
}

/// The input of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The import's Secret.
    pub secret: Option<&'a SecretState>,
    /// Whether the status names a Secret.
    pub had_secret: bool,
    /// Digest of the inputs that the Secret should be built from.
    pub fingerprint: &'a str,
    /// The keys that the Secret should have.
    pub keys: &'a BTreeSet<String>,
    /// The labels and annotations that the Secret should have.
    pub metadata: &'a SecretMetadata,
    /// UID of the source, if the link pins it.
    pub cluster_uid: Option<&'a str>,
    /// The source's report about the service account, if it invalidates the token.
    pub account: Option<&'a Account>,
    /// The requested lifetime, which no token exceeds.
    pub requested_lifetime: Duration,
}

/// Decides whether a token is due.
pub fn decide(facts: Facts<'_>, now: Timestamp) -> Decision {
    let Some(secret) = facts.secret else {
        return Decision::Mint(if facts.had_secret { MintReason::Lost } else { MintReason::Missing });
    };
    let Some(provenance) = &secret.provenance else { return Decision::Mint(MintReason::Edited) };
    if secret.was_edited() || (secret.is_tracked() && secret.names.keys != *facts.keys) {
        return Decision::Mint(MintReason::Edited);
    }
    let other_cluster = facts.cluster_uid.is_some() && facts.cluster_uid != provenance.cluster_uid.as_deref();
    if provenance.fingerprint != facts.fingerprint || other_cluster {
        return Decision::Mint(MintReason::Changed);
    }
    if facts.account.is_some_and(|account| !account.allows(&provenance.service_account_uid)) {
        return Decision::Mint(MintReason::Recreated);
    }
    if provenance.expires_at > after(now, facts.requested_lifetime + SLACK) {
        return Decision::Mint(MintReason::ClockSetBack);
    }
    match provenance.refresh_at {
        None => Decision::Mint(MintReason::TakenOver),
        Some(time) if time <= now => Decision::Mint(MintReason::TimeIsUp),
        Some(time) if !secret.has(facts.metadata) => Decision::Restore(time),
        Some(time) => Decision::Wait(time),
    }
}

/// When to refresh a token that was granted `now` for `lifetime`: when its remaining time is
/// max(20 % of the lifetime, min(300 s, 50 % of the lifetime)). `jitter` (0..1) delays that by up to 10 % of the
/// lifetime, which spreads imports that were created together.
pub fn refresh_time(now: Timestamp, lifetime: Duration, jitter: f64) -> Timestamp {
    let rest = lifetime.mul_f64(0.2).max(Duration::from_secs(300).min(lifetime / 2));
    let rest = rest.saturating_sub(lifetime.mul_f64(0.1 * jitter.clamp(0.0, 1.0)));
    after(now, lifetime.saturating_sub(rest).max(MIN_INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_credentials::contract;
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[rstest]
    #[case::one_hour(3600, 0.0, 3600 - 720)]
    #[case::one_hour_with_full_jitter(3600, 1.0, 3600 - 360)]
    #[case::shortest_lifetime(600, 0.0, 300)]
    #[case::shortest_lifetime_with_full_jitter(600, 1.0, 360)]
    #[case::one_day(86_400, 0.0, 69_120)]
    #[case::both_rules_agree(1500, 0.0, 1200)]
    #[case::one_minute(60, 0.0, 30)]
    #[case::one_second(1, 0.0, 10)]
    #[case::no_lifetime(0, 1.0, 10)]
    fn token_is_refreshed_before_it_expires(#[case] lifetime: u64, #[case] jitter: f64, #[case] after: i64) {
        assert_eq!(refresh_time(at(NOW), Duration::from_secs(lifetime), jitter), at(NOW + after));
    }

    fn annotations() -> Value {
        json!({
            contract::EXPIRATION_TIME: at(NOW + 600).to_string(),
            contract::REFRESH_TIME: at(NOW + 300).to_string(),
            contract::SERVICE_ACCOUNT_UID: "sa",
            contract::CLUSTER_UID: "c2",
            contract::FINGERPRINT: "f",
        })
    }

    fn secret(annotations: Value, others: Value) -> SecretState {
        let time = at(NOW).to_string();
        let later = at(NOW + 1).to_string();
        SecretState::read(
            &serde_json::from_value(json!({
                "annotations": annotations,
                "managedFields": [
                    { "manager": contract::FIELD_MANAGER, "time": time, "fieldsV1": { "f:data": { "f:token": {} } } },
                    { "manager": "kubectl", "time": later, "fieldsV1": others },
                ],
            }))
            .unwrap(),
        )
    }

    fn without(key: &str) -> Value {
        let mut annotations = annotations();
        annotations.as_object_mut().unwrap().remove(key);
        annotations
    }

    fn with(key: &str, value: &str) -> Value {
        let mut annotations = annotations();
        annotations[key] = value.into();
        annotations
    }

    #[rstest]
    #[case::fresh(secret(annotations(), json!({})), Decision::Wait(at(NOW + 300)))]
    #[case::value_edited(secret(annotations(), json!({ "f:data": { "f:token": {} } })), Decision::Mint(MintReason::Edited))]
    #[case::key_added(secret(annotations(), json!({ "f:data": { "f:more": {} } })), Decision::Mint(MintReason::Edited))]
    #[case::annotation_removed(secret(without(contract::FINGERPRINT), json!({})), Decision::Mint(MintReason::Edited))]
    #[case::invalid_expiration_time(secret(with(contract::EXPIRATION_TIME, "soon"), json!({})), Decision::Mint(MintReason::Edited))]
    #[case::written_by_bootstrap(secret(without(contract::REFRESH_TIME), json!({})), Decision::Mint(MintReason::TakenOver))]
    #[case::fingerprint_changed(secret(with(contract::FINGERPRINT, "g"), json!({})), Decision::Mint(MintReason::Changed))]
    #[case::other_cluster(secret(with(contract::CLUSTER_UID, "c3"), json!({})), Decision::Mint(MintReason::Changed))]
    #[case::labelled_by_others(
        secret(annotations(), json!({ "f:metadata": { "f:labels": { "f:team": {} } } })),
        Decision::Wait(at(NOW + 300))
    )]
    fn token_is_minted_if_the_secret_is_edited_or_outdated(
        #[case] secret: SecretState,
        #[case] expected: Decision,
    ) {
        assert_eq!(decide(facts(&secret, &["token".to_owned()].into()), at(NOW)), expected);
    }

    fn facts<'a>(secret: &'a SecretState, keys: &'a BTreeSet<String>) -> Facts<'a> {
        static NONE: SecretMetadata =
            SecretMetadata { labels: BTreeMap::new(), annotations: BTreeMap::new() };
        Facts {
            secret: Some(secret),
            had_secret: true,
            fingerprint: "f",
            keys,
            metadata: &NONE,
            cluster_uid: Some("c2"),
            account: None,
            requested_lifetime: Duration::from_secs(600),
        }
    }

    #[rstest]
    #[case::intact("1", annotations(), NOW, Decision::Wait(at(NOW + 300)))]
    #[case::label_lost("2", annotations(), NOW, Decision::Restore(at(NOW + 300)))]
    #[case::label_lost_and_token_due("2", annotations(), NOW + 300, Decision::Mint(MintReason::TimeIsUp))]
    #[case::label_lost_and_edited(
        "2",
        without(contract::FINGERPRINT),
        NOW,
        Decision::Mint(MintReason::Edited)
    )]
    fn lost_label_is_restored_without_a_token(
        #[case] wanted: &str,
        #[case] annotations: Value,
        #[case] now: i64,
        #[case] expected: Decision,
    ) {
        let metadata = json!({ "labels": { "team": "1" }, "annotations": annotations });
        let secret = SecretState::read(&serde_json::from_value(metadata).unwrap());
        let labels = [("team".to_owned(), wanted.to_owned())].into();
        let metadata = &SecretMetadata { labels, ..Default::default() };
        let keys = BTreeSet::new();
        assert_eq!(decide(Facts { metadata, ..facts(&secret, &keys) }, at(now)), expected);
    }

    #[test]
    fn recreated_service_account_needs_a_token() {
        let (secret, keys) = (secret(annotations(), json!({})), ["token".to_owned()].into());
        let decide_with =
            |account: Account| decide(Facts { account: Some(&account), ..facts(&secret, &keys) }, at(NOW));
        assert_eq!(decide_with(Account::Exists("sa".into())), Decision::Wait(at(NOW + 300)));
        assert_eq!(decide_with(Account::Exists("other".into())), Decision::Mint(MintReason::Recreated));
        assert_eq!(decide_with(Account::Deleted("sa".into())), Decision::Mint(MintReason::Recreated));
    }

    #[test]
    fn expiry_beyond_the_lifetime_means_the_clock_was_set_back() {
        let (secret, keys) = (secret(annotations(), json!({})), ["token".to_owned()].into());
        assert_eq!(decide(facts(&secret, &keys), at(NOW - 60)), Decision::Wait(at(NOW + 300)));
        assert_eq!(decide(facts(&secret, &keys), at(NOW - 61)), Decision::Mint(MintReason::ClockSetBack));
    }

    #[test]
    fn token_is_due_at_its_refresh_time() {
        let (secret, keys) = (secret(annotations(), json!({})), ["token".to_owned()].into());
        let facts = facts(&secret, &keys);
        assert_eq!(decide(facts, at(NOW + 299)), Decision::Wait(at(NOW + 300)));
        assert_eq!(decide(facts, at(NOW + 300)), Decision::Mint(MintReason::TimeIsUp));
        let none = Facts { secret: None, ..facts };
        assert_eq!(decide(none, at(NOW)), Decision::Mint(MintReason::Lost));
        assert_eq!(decide(Facts { had_secret: false, ..none }, at(NOW)), Decision::Mint(MintReason::Missing));
    }
}
