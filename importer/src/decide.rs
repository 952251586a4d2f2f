//! Second step: is a token due, or when will it be?

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use mcsa_client::system::secret::SecretState;

use crate::clock::after;
use crate::model::account::Account;

/// However short the tokens are that a source grants, it is not asked more often.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// Clocks of two replicas may differ by so much.
const SLACK: Duration = Duration::from_secs(60);

/// What is to be done about an import now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Mint a token.
    Mint(Why),
    /// Nothing before this time.
    Wait(Timestamp),
}

/// Why a token is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no Secret yet.
    Missing,
    /// There was a Secret.
    Lost,
    /// Someone else wrote into the Secret.
    Edited,
    /// The import or the link asks for something else than the Secret was made from.
    Changed,
    /// The Secret is the one that bootstrap made.
    TakenOver,
    /// The token's time is up.
    TimeIsUp,
    /// The service account was deleted, and may have been made anew.
    Recreated,
    /// The clock was set back since the token was minted.
    ClockSetBack,
}

impl Why {
    /// The name, as logs and metrics say it.
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

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The import's Secret, if there is one.
    pub secret: Option<&'a SecretState>,
    /// Whether there was one before.
    pub had_secret: bool,
    /// What the Secret should be made from.
    pub fingerprint: &'a str,
    /// The keys that it should have.
    pub keys: &'a BTreeSet<String>,
    /// The cluster that its token should be of, where the link says it.
    pub cluster_uid: Option<&'a str>,
    /// What the source told of the service account, if its token is not of that one.
    pub account: Option<&'a Account>,
    /// The lifetime that the import asks for: no token has a longer one.
    pub asked: Duration,
}

/// Decides whether a token is due.
pub fn decide(facts: Facts<'_>, now: Timestamp) -> Decision {
    let Some(secret) = facts.secret else {
        return Decision::Mint(if facts.had_secret { Why::Lost } else { Why::Missing });
    };
    let Some(provenance) = &secret.provenance else { return Decision::Mint(Why::Edited) };
    if secret.was_touched() || (secret.is_tracked() && secret.names.keys != *facts.keys) {
        return Decision::Mint(Why::Edited);
    }
    let other_cluster = facts.cluster_uid.is_some() && facts.cluster_uid != provenance.cluster_uid.as_deref();
    if provenance.fingerprint != facts.fingerprint || other_cluster {
        return Decision::Mint(Why::Changed);
    }
    if facts.account.is_some_and(|account| !account.allows(&provenance.service_account_uid)) {
        return Decision::Mint(Why::Recreated);
    }
    if provenance.expires_at > after(now, facts.asked + SLACK) {
        return Decision::Mint(Why::ClockSetBack);
    }
    match provenance.refresh_at {
        None => Decision::Mint(Why::TakenOver),
        Some(time) if time <= now => Decision::Mint(Why::TimeIsUp),
        Some(time) => Decision::Wait(time),
    }
}

/// When to replace a token that was granted `now` for `lifetime`: when what is left of it is
/// max(20 % of the lifetime, min(300 s, 50 % of the lifetime)), less up to 10 % of the lifetime by
/// `jitter` (0..1), so that imports declared together do not stay together.
pub fn refresh_time(now: Timestamp, lifetime: Duration, jitter: f64) -> Timestamp {
    let rest = lifetime.mul_f64(0.2).max(Duration::from_secs(300).min(lifetime / 2));
    let rest = rest.saturating_sub(lifetime.mul_f64(0.1 * jitter.clamp(0.0, 1.0)));
    after(now, lifetime.saturating_sub(rest).max(MIN_INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::contract;
    use rstest::rstest;
    use serde_json::{Value, json};

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[rstest]
    #[case::an_hour(3600, 0.0, 3600 - 720)]
    #[case::an_hour_with_all_jitter(3600, 1.0, 3600 - 360)]
    #[case::the_shortest(600, 0.0, 300)]
    #[case::the_shortest_with_all_jitter(600, 1.0, 360)]
    #[case::a_day(86_400, 0.0, 69_120)]
    #[case::where_the_rules_meet(1500, 0.0, 1200)]
    #[case::a_minute(60, 0.0, 30)]
    #[case::a_second_never_spins(1, 0.0, 10)]
    #[case::nothing_never_spins(0, 1.0, 10)]
    fn tokens_are_replaced_in_time(#[case] lifetime: u64, #[case] jitter: f64, #[case] after: i64) {
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
    #[case::value_edited(secret(annotations(), json!({ "f:data": { "f:token": {} } })), Decision::Mint(Why::Edited))]
    #[case::key_added(secret(annotations(), json!({ "f:data": { "f:more": {} } })), Decision::Mint(Why::Edited))]
    #[case::annotation_lost(secret(without(contract::FINGERPRINT), json!({})), Decision::Mint(Why::Edited))]
    #[case::time_spoiled(secret(with(contract::EXPIRATION_TIME, "soon"), json!({})), Decision::Mint(Why::Edited))]
    #[case::bootstrapped(secret(without(contract::REFRESH_TIME), json!({})), Decision::Mint(Why::TakenOver))]
    #[case::changed(secret(with(contract::FINGERPRINT, "g"), json!({})), Decision::Mint(Why::Changed))]
    #[case::other_cluster(secret(with(contract::CLUSTER_UID, "c3"), json!({})), Decision::Mint(Why::Changed))]
    #[case::labelled_by_others(
        secret(annotations(), json!({ "f:metadata": { "f:labels": { "f:team": {} } } })),
        Decision::Wait(at(NOW + 300))
    )]
    fn decisions(#[case] secret: SecretState, #[case] expected: Decision) {
        assert_eq!(decide(facts(&secret, &["token".to_owned()].into()), at(NOW)), expected);
    }

    fn facts<'a>(secret: &'a SecretState, keys: &'a BTreeSet<String>) -> Facts<'a> {
        Facts {
            secret: Some(secret),
            had_secret: true,
            fingerprint: "f",
            keys,
            cluster_uid: Some("c2"),
            account: None,
            asked: Duration::from_secs(600),
        }
    }

    #[test]
    fn another_service_account_needs_another_token() {
        let (secret, keys) = (secret(annotations(), json!({})), ["token".to_owned()].into());
        let told =
            |account: Account| decide(Facts { account: Some(&account), ..facts(&secret, &keys) }, at(NOW));
        assert_eq!(told(Account::Is("sa".into())), Decision::Wait(at(NOW + 300)));
        assert_eq!(told(Account::Is("other".into())), Decision::Mint(Why::Recreated));
        assert_eq!(told(Account::Gone("sa".into())), Decision::Mint(Why::Recreated));
    }

    #[test]
    fn a_token_of_the_future_was_minted_by_another_clock() {
        let (secret, keys) = (secret(annotations(), json!({})), ["token".to_owned()].into());
        assert_eq!(decide(facts(&secret, &keys), at(NOW - 60)), Decision::Wait(at(NOW + 300)));
        assert_eq!(decide(facts(&secret, &keys), at(NOW - 61)), Decision::Mint(Why::ClockSetBack));
    }

    #[test]
    fn the_time_comes() {
        let (secret, keys) = (secret(annotations(), json!({})), ["token".to_owned()].into());
        let facts = facts(&secret, &keys);
        assert_eq!(decide(facts, at(NOW + 299)), Decision::Wait(at(NOW + 300)));
        assert_eq!(decide(facts, at(NOW + 300)), Decision::Mint(Why::TimeIsUp));
        let none = Facts { secret: None, ..facts };
        assert_eq!(decide(none, at(NOW)), Decision::Mint(Why::Lost));
        assert_eq!(decide(Facts { had_secret: false, ..none }, at(NOW)), Decision::Mint(Why::Missing));
    }
}
