//! An import's status, computed by a pure function.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mcsa_client::ServiceAccountImportStatus;
use mcsa_client::api::{READY, REFRESHED, SecretReference};
use mcsa_credentials::credential::items;
use mcsa_credentials::secret::SecretState;
use serde_json::json;

use crate::clock::seconds;
use crate::model::check_result::CheckResult;
use crate::model::failure::{Failure, Reason};
use crate::model::import::Import;

/// Reason of `Refreshed=True`.
pub const SUCCEEDED: &str = "Refreshed";

/// The result of a reconciliation.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The Secret that the import owns.
    pub secret: Option<&'a SecretState>,
    /// Why the reconciliation failed.
    pub failure: Option<&'a Failure>,
    /// Why the source rejects the token in the Secret, although it has not expired.
    pub revocation: Option<Reason>,
    /// For a link: the latest check result.
    pub check: Option<&'a CheckResult>,
}

/// The parts of a status that the next reconciliation needs: a hundred bytes instead of two thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusSummary {
    digest: Option<u64>,
    pub ready: Option<ConditionSummary>,
    pub refreshed: Option<ConditionSummary>,
    pub has_secret: bool,
    pub expires_at: Option<Timestamp>,
    pub refresh_at: Option<Timestamp>,
}

/// A condition without its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConditionSummary {
    pub status: bool,
    /// Empty if it is not one of the importer's reasons.
    pub reason: &'static str,
    since: Timestamp,
}

impl StatusSummary {
    pub fn of(status: Option<&ServiceAccountImportStatus>) -> Self {
        let Some(status) = status else { return Self::default() };
        let summarize = |type_: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
            Some(ConditionSummary {
                status: found.status == "True",
                reason: known_reason(&found.reason),
                since: found.last_transition_time.0,
            })
        };
        let mut hasher = DefaultHasher::new();
        json!(status).to_string().hash(&mut hasher);
        Self {
            digest: Some(hasher.finish()),
            ready: summarize(READY),
            refreshed: summarize(REFRESHED),
            has_secret: !status.secrets.is_empty(),
            expires_at: status.expiration_time.as_ref().map(|time| time.0),
            refresh_at: status.refresh_time.as_ref().map(|time| time.0),
        }
    }

    /// Digest of the whole status; `None` without a status.
    pub fn digest(&self) -> Option<u64> {
        self.digest
    }

    pub fn is_same_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

fn known_reason(reason: &str) -> &'static str {
    Reason::ALL
        .iter()
        .map(|known| known.as_str())
        .chain([SUCCEEDED])
        .find(|known| *known == reason)
        .unwrap_or("")
}

/// The status that an import should have. It equals the current one if nothing changed.
pub fn status(
    import: &Import,
    summary: &StatusSummary,
    outcome: Outcome<'_>,
    now: Timestamp,
) -> ServiceAccountImportStatus {
    let provenance = outcome.secret.and_then(|secret| secret.provenance.as_ref());
    let secret_name = import.spec.secret_name(import.key.name());
    let condition =
        |type_: &str, before: Option<ConditionSummary>, status: bool, reason: &str, message: String| {
            let since =
                before.filter(|before| before.status == status).map_or(seconds(now), |before| before.since);
            Condition {
                type_: type_.into(),
                status: if status { "True" } else { "False" }.into(),
                reason: reason.into(),
                message,
                observed_generation: import.generation,
                last_transition_time: Time(since),
            }
        };
    let ready = |status, reason: &str, message| condition(READY, summary.ready, status, reason, message);
    let is_intact = outcome.secret.is_some_and(|secret| is_intact(import, secret));
    let ready = match (provenance, outcome.revocation, outcome.failure) {
        (Some(_), ..) if !is_intact => {
            let message = format!("another client changed Secret {secret_name}; the importer restores it");
            ready(false, "SecretEdited", message)
        }
        (Some(token), ..) if token.expires_at <= now => {
            let message = format!("the token in Secret {secret_name} expired at {:.0}", token.expires_at);
            ready(false, "TokenExpired", message)
        }
        (Some(_), Some(reason), _) => ready(false, reason.as_str(), revoked(import, &secret_name, reason)),
        (Some(token), None, _) => {
            let message = format!("Secret {secret_name} holds a token until {:.0}", token.expires_at);
            ready(true, "TokenValid", message)
        }
        (None, _, Some(failure)) => ready(false, failure.reason.as_str(), failure.message.clone()),
        (None, _, None) => ready(false, "NoToken", format!("Secret {secret_name} holds no token")),
    };
    let refreshed =
        |status, reason: &str, message| condition(REFRESHED, summary.refreshed, status, reason, message);
    let refreshed = match outcome.failure {
        None => refreshed(true, SUCCEEDED, "the last refresh succeeded".into()),
        Some(failure) => refreshed(false, failure.reason.as_str(), failure.message.clone()),
    };
    ServiceAccountImportStatus {
        secrets: outcome.secret.map(|_| SecretReference { name: secret_name }).into_iter().collect(),
        observed_generation: import.generation,
        conditions: [ready, refreshed]
            .into_iter()
            .chain(outcome.check.map(|check| check.condition.clone()))
            .collect(),
        expiration_time: provenance.map(|token| Time(seconds(token.expires_at))),
        refresh_time: provenance.and_then(|token| token.refresh_at).map(|time| Time(seconds(time))),
        service_account_uid: provenance.map(|token| token.service_account_uid.clone()),
        checked_request: outcome.check.map(|check| check.request.clone()),
    }
}

/// The message of `Ready` about a revoked token. The condition `Refreshed` says what to do.
fn revoked(import: &Import, secret_name: &str, reason: Reason) -> String {
    let spec = &import.spec;
    let (kind, name) = match (reason, &spec.bound_secret) {
        (Reason::BoundSecretNotFound, Some(name)) => ("Secret", name),
        _ => ("service account", &spec.name),
    };
    format!(
        "the source rejects the token in Secret {secret_name}, because {kind} {}/{name} was deleted in {}",
        spec.namespace, spec.cluster_name
    )
}

/// Whether the Secret's metadata shows the content that the importer wrote.
fn is_intact(import: &Import, secret: &SecretState) -> bool {
    let chosen = import.spec.secret.as_ref().map_or(&[][..], |secret| &secret.items);
    // Without the key of the CA bundle: whether it is required depends on the link, which may be gone.
    let has = |key: &String| !secret.is_tracked() || secret.names.keys.contains(key);
    !secret.was_edited() && items(chosen, false).iter().all(|item| has(&item.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
    use mcsa_credentials::contract::{self, FIELD_MANAGER};

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn import() -> Import {
        let mut import = ServiceAccountImport::new("a", ServiceAccountImportSpec::default());
        import.metadata.generation = Some(1);
        Import::of(import)
    }

    fn secret(expires: i64) -> SecretState {
        let keys = ["server", "namespace", "token", "config", "kubeconfig"];
        holding(&keys, expires)
    }

    fn holding(keys: &[&str], expires: i64) -> SecretState {
        let fields: serde_json::Map<_, _> = keys.iter().map(|key| (format!("f:{key}"), json!({}))).collect();
        let written = json!([{ "manager": FIELD_MANAGER, "fieldsV1": { "f:data": fields } }]);
        let metadata = json!({ "managedFields": written, "annotations": {
            contract::EXPIRATION_TIME: at(expires).to_string(),
            contract::REFRESH_TIME: at(expires - 300).to_string(),
            contract::SERVICE_ACCOUNT_UID: "sa",
            contract::FINGERPRINT: "f",
        } });
        SecretState::read(&serde_json::from_value(metadata).unwrap())
    }

    fn first(outcome: Outcome<'_>, now: i64) -> ServiceAccountImportStatus {
        status(&import(), &StatusSummary::default(), outcome, at(now))
    }

    fn condition<'a>(status: &'a ServiceAccountImportStatus, type_: &str) -> (&'a str, &'a str) {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        (condition.status.as_str(), condition.reason.as_str())
    }

    #[test]
    fn failed_refresh_keeps_a_valid_token_ready() {
        let failure = Failure::new(Reason::SourceUnreachable, "c2 is unreachable");
        let secret = secret(NOW + 600);
        let outcome =
            Outcome { secret: Some(&secret), failure: Some(&failure), revocation: None, check: None };
        let before = first(outcome, NOW);
        assert_eq!(condition(&before, READY), ("True", "TokenValid"));
        assert_eq!(condition(&before, REFRESHED), ("False", "SourceUnreachable"));
        assert_eq!(condition(&first(outcome, NOW + 600), READY), ("False", "TokenExpired"));
    }

    #[test]
    fn revoked_token_is_not_ready() {
        let failure = Failure::new(Reason::BoundSecretNotFound, "c2 has no such Secret");
        let secret = secret(NOW + 600);
        let revocation = Some(Reason::BoundSecretNotFound);
        let outcome = Outcome { secret: Some(&secret), failure: Some(&failure), revocation, check: None };
        assert_eq!(condition(&first(outcome, NOW), READY), ("False", "BoundSecretNotFound"));
        assert_eq!(first(outcome, NOW).secrets.len(), 1, "the Secret stays as it is");
        assert_eq!(condition(&first(outcome, NOW + 600), READY), ("False", "TokenExpired"));
    }

    #[test]
    fn edited_secret_is_not_ready() {
        let failure = Failure::new(Reason::SourceUnreachable, "c2 is unreachable");
        let emptied = holding(&["server"], NOW + 600);
        let outcome =
            Outcome { secret: Some(&emptied), failure: Some(&failure), revocation: None, check: None };
        assert_eq!(condition(&first(outcome, NOW), READY), ("False", "SecretEdited"));
    }

    #[test]
    fn unchanged_status_is_equal() {
        let secret = secret(NOW + 600);
        let outcome = Outcome { secret: Some(&secret), failure: None, revocation: None, check: None };
        let before = first(outcome, NOW);
        let summary = StatusSummary::of(Some(&before));
        let after = status(&import(), &summary, outcome, at(NOW + 5));
        assert_eq!(after, before);
        assert!(summary.is_same_as(&StatusSummary::of(Some(&after))));
        // As read back from an API server.
        let stored = serde_json::from_value(serde_json::to_value(&before).unwrap()).unwrap();
        assert!(summary.is_same_as(&StatusSummary::of(Some(&stored))));
        assert!(!summary.is_same_as(&StatusSummary::of(None)));
        let failure = Failure::new(Reason::Forbidden, "no");
        let failed = first(Outcome { failure: Some(&failure), ..outcome }, NOW);
        assert!(!summary.is_same_as(&StatusSummary::of(Some(&failed))));
    }

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let secret = secret(NOW + 600);
        let summary = StatusSummary::of(Some(&first(
            Outcome { secret: Some(&secret), failure: None, revocation: None, check: None },
            NOW,
        )));
        let failure = Failure::new(Reason::Forbidden, "no");
        let outcome =
            Outcome { secret: Some(&secret), failure: Some(&failure), revocation: None, check: None };
        let failed = status(&import(), &summary, outcome, at(NOW + 9));
        let time = |type_| {
            let found = failed.conditions.iter().find(|condition| condition.type_ == type_);
            found.unwrap().last_transition_time.0
        };
        assert_eq!((time(READY), time(REFRESHED)), (at(NOW), at(NOW + 9)));
    }

    #[test]
    fn missing_secret_is_explained_by_ready() {
        let failure = Failure::new(Reason::ClusterNotLinked, "there is no link to c2");
        let status =
            first(Outcome { secret: None, failure: Some(&failure), revocation: None, check: None }, NOW);
        assert_eq!(condition(&status, READY), ("False", "ClusterNotLinked"));
        assert!(status.secrets.is_empty() && status.expiration_time.is_none());
    }
}
