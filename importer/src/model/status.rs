//! What an import's status says: a pure function of what is known.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mcsa_client::ServiceAccountImportStatus;
use mcsa_client::api::{READY, REFRESHED, SecretReference};
use mcsa_client::system::credential::items;
use mcsa_client::system::secret::SecretState;
use serde_json::json;

use crate::clock::seconds;
use crate::model::check_result::CheckResult;
use crate::model::failure::{Failure, Reason};
use crate::model::import::Import;

/// Reason of `Refreshed=True`.
pub const SUCCEEDED: &str = "Refreshed";

/// What a reconciliation ended with.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The import's Secret, if there is one that is its own.
    pub secret: Option<&'a SecretState>,
    /// Why the reconciliation did not succeed, if so.
    pub failure: Option<&'a Failure>,
    /// Of a link: what whoever asked last is told.
    pub answer: Option<&'a CheckResult>,
}

/// What the status of an import says, as far as the next report has to know. A status has some two
/// thousand bytes; this has a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    digest: Option<u64>,
    /// The condition `Ready`.
    pub ready: Option<Turn>,
    /// The condition `Refreshed`.
    pub refreshed: Option<Turn>,
    /// Whether it names a Secret.
    pub has_secret: bool,
    /// When the token expires.
    pub expires_at: Option<Timestamp>,
    /// When it is replaced.
    pub refresh_at: Option<Timestamp>,
}

/// A condition, and since when it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whether it is true.
    pub status: bool,
    /// Why. A reason that no importer gives is empty.
    pub reason: &'static str,
    since: Timestamp,
}

impl Shown {
    /// What `status` says.
    pub fn of(status: Option<&ServiceAccountImportStatus>) -> Self {
        let Some(status) = status else { return Self::default() };
        let turn = |type_: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
            Some(Turn {
                status: found.status == "True",
                reason: known_reason(&found.reason),
                since: found.last_transition_time.0,
            })
        };
        let mut hasher = DefaultHasher::new();
        json!(status).to_string().hash(&mut hasher);
        Self {
            digest: Some(hasher.finish()),
            ready: turn(READY),
            refreshed: turn(REFRESHED),
            has_secret: !status.secrets.is_empty(),
            expires_at: status.expiration_time.as_ref().map(|time| time.0),
            refresh_at: status.refresh_time.as_ref().map(|time| time.0),
        }
    }

    /// Of the whole status; none where there is none. Equal where the very same is said.
    pub fn digest(&self) -> Option<u64> {
        self.digest
    }

    /// Whether `other` says the very same.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
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

/// The status that an import should have. It is equal to the one it has when there is nothing new.
pub fn status(
    import: &Import,
    shown: &Shown,
    outcome: Outcome<'_>,
    now: Timestamp,
) -> ServiceAccountImportStatus {
    let provenance = outcome.secret.and_then(|secret| secret.provenance.as_ref());
    let secret_name = import.spec.secret_name(import.key.name());
    let condition = |type_: &str, before: Option<Turn>, status: bool, reason: &str, message: String| {
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
    let ready = |status, reason: &str, message| condition(READY, shown.ready, status, reason, message);
    let whole = outcome.secret.is_some_and(|secret| is_whole(import, secret));
    let ready = match (provenance, outcome.failure) {
        (Some(_), _) if !whole => {
            let message = format!("someone else changed Secret {secret_name}; the importer puts it right");
            ready(false, "SecretEdited", message)
        }
        (Some(token), _) if token.expires_at > now => {
            let message = format!("Secret {secret_name} holds a token until {}", token.expires_at);
            ready(true, "TokenValid", message)
        }
        (Some(token), _) => {
            let message = format!("the token in Secret {secret_name} expired at {}", token.expires_at);
            ready(false, "TokenExpired", message)
        }
        (None, Some(failure)) => ready(false, failure.reason.as_str(), failure.message.clone()),
        (None, None) => ready(false, "NoToken", format!("Secret {secret_name} holds no token")),
    };
    let refreshed =
        |status, reason: &str, message| condition(REFRESHED, shown.refreshed, status, reason, message);
    let refreshed = match outcome.failure {
        None => refreshed(true, SUCCEEDED, "the last try succeeded".into()),
        Some(failure) => refreshed(false, failure.reason.as_str(), failure.message.clone()),
    };
    ServiceAccountImportStatus {
        secrets: outcome.secret.map(|_| SecretReference { name: secret_name }).into_iter().collect(),
        observed_generation: import.generation,
        conditions: [ready, refreshed]
            .into_iter()
            .chain(outcome.answer.map(|answer| answer.condition.clone()))
            .collect(),
        expiration_time: provenance.map(|token| Time(seconds(token.expires_at))),
        refresh_time: provenance.and_then(|token| token.refresh_at).map(|time| Time(seconds(time))),
        service_account_uid: provenance.map(|token| token.service_account_uid.clone()),
        checked_request: outcome.answer.map(|answer| answer.request.clone()),
    }
}

/// Whether the Secret holds what the importer wrote, as far as its metadata tells.
fn is_whole(import: &Import, secret: &SecretState) -> bool {
    let chosen = import.spec.secret.as_ref().map_or(&[][..], |secret| &secret.items);
    // Whether there has to be a CA bundle is the link's to say, which may be gone.
    let has = |key: &String| !secret.is_tracked() || secret.names.keys.contains(key);
    !secret.was_touched() && items(chosen, false).iter().all(|item| has(&item.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::contract::{self, FIELD_MANAGER};
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

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
        status(&import(), &Shown::default(), outcome, at(now))
    }

    fn condition<'a>(status: &'a ServiceAccountImportStatus, type_: &str) -> (&'a str, &'a str) {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        (condition.status.as_str(), condition.reason.as_str())
    }

    #[test]
    fn a_failed_refresh_leaves_a_working_token_ready() {
        let failure = Failure::new(Reason::SourceUnreachable, "c2 is away");
        let secret = secret(NOW + 600);
        let outcome = Outcome { secret: Some(&secret), failure: Some(&failure), answer: None };
        let before = first(outcome, NOW);
        assert_eq!(condition(&before, READY), ("True", "TokenValid"));
        assert_eq!(condition(&before, REFRESHED), ("False", "SourceUnreachable"));
        assert_eq!(condition(&first(outcome, NOW + 600), READY), ("False", "TokenExpired"));
    }

    #[test]
    fn a_secret_that_someone_else_emptied_is_not_ready() {
        let failure = Failure::new(Reason::SourceUnreachable, "c2 is away");
        let emptied = holding(&["server"], NOW + 600);
        let outcome = Outcome { secret: Some(&emptied), failure: Some(&failure), answer: None };
        assert_eq!(condition(&first(outcome, NOW), READY), ("False", "SecretEdited"));
    }

    #[test]
    fn nothing_new_is_nothing_to_write() {
        let secret = secret(NOW + 600);
        let outcome = Outcome { secret: Some(&secret), failure: None, answer: None };
        let before = first(outcome, NOW);
        let shown = Shown::of(Some(&before));
        let after = status(&import(), &shown, outcome, at(NOW + 5));
        assert_eq!(after, before);
        assert!(shown.says_the_same_as(&Shown::of(Some(&after))));
        // As read back from an API server.
        let stored = serde_json::from_value(serde_json::to_value(&before).unwrap()).unwrap();
        assert!(shown.says_the_same_as(&Shown::of(Some(&stored))));
        assert!(!shown.says_the_same_as(&Shown::of(None)));
        let failure = Failure::new(Reason::Forbidden, "no");
        let failed = first(Outcome { failure: Some(&failure), ..outcome }, NOW);
        assert!(!shown.says_the_same_as(&Shown::of(Some(&failed))));
    }

    #[test]
    fn transition_times_change_with_the_status_alone() {
        let secret = secret(NOW + 600);
        let shown =
            Shown::of(Some(&first(Outcome { secret: Some(&secret), failure: None, answer: None }, NOW)));
        let failure = Failure::new(Reason::Forbidden, "no");
        let outcome = Outcome { secret: Some(&secret), failure: Some(&failure), answer: None };
        let failed = status(&import(), &shown, outcome, at(NOW + 9));
        let time = |type_| {
            let found = failed.conditions.iter().find(|condition| condition.type_ == type_);
            found.unwrap().last_transition_time.0
        };
        assert_eq!((time(READY), time(REFRESHED)), (at(NOW), at(NOW + 9)));
    }

    #[test]
    fn without_a_secret_it_is_said_why() {
        let failure = Failure::new(Reason::ClusterNotLinked, "there is no link to c2");
        let status = first(Outcome { secret: None, failure: Some(&failure), answer: None }, NOW);
        assert_eq!(condition(&status, READY), ("False", "ClusterNotLinked"));
        assert!(status.secrets.is_empty() && status.expiration_time.is_none());
    }
}
