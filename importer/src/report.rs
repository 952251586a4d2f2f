//! Last step: what the import's status and an event say.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource, ResourceExt};
use mcsa_client::api::{READY, REFRESHED, SecretReference};
use mcsa_client::contract::FIELD_MANAGER;
use mcsa_client::credential::items;
use mcsa_client::secret::SecretState;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use mcsa_runtime::errors;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::target::in_time;

/// An event's note may have this many characters.
const NOTE_MAX: usize = 1000;

/// What a reconciliation ended with.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The import's Secret, if there is one that is its own.
    pub secret: Option<&'a SecretState>,
    /// Why the reconciliation did not succeed, if so.
    pub failure: Option<&'a Failure>,
}

/// What became of the status.
#[derive(Debug)]
pub enum Reported {
    /// It says so already.
    Unchanged,
    /// It was written; the import as it is then.
    Written(Box<ServiceAccountImport>),
    /// The import is gone, or another one of the same name, which has its own turn.
    Gone,
}

/// Writes the status, if it says anything new.
///
/// # Errors
/// When the target does not accept it.
pub async fn report(
    client: &Client,
    recorder: &Recorder,
    import: &ServiceAccountImport,
    outcome: Outcome<'_>,
    now: Timestamp,
) -> Result<Reported, kube::Error> {
    let status = status(import, outcome, now);
    if import.status.as_ref() == Some(&status) {
        return Ok(Reported::Unchanged);
    }
    let imports =
        Api::<ServiceAccountImport>::namespaced(client.clone(), &import.namespace().unwrap_or_default());
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let patch = Patch::Merge(json!({ "metadata": { "uid": import.uid() }, "status": whole(&status) }));
    let written = match in_time(imports.patch_status(&import.name_any(), &parameters, &patch)).await {
        Ok(written) => written,
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return Ok(Reported::Gone),
        Err(error) => return Err(error),
    };
    if let Some(event) = event(import, &status)
        && let Err(error) = in_time(recorder.publish(&event, &import.object_ref(&()))).await
    {
        // The status says the same, and an event that came late would only confuse.
        tracing::warn!(
            namespace = import.namespace(),
            import = import.name_any(),
            error = errors::line(&error),
            "can't write an event"
        );
    }
    Ok(Reported::Written(Box::new(written)))
}

/// The status that an import should have. It is equal to the one it has when there is nothing new.
pub fn status(
    import: &ServiceAccountImport,
    outcome: Outcome<'_>,
    now: Timestamp,
) -> ServiceAccountImportStatus {
    let provenance = outcome.secret.and_then(|secret| secret.provenance.as_ref());
    let secret_name = import.secret_name();
    let condition = |type_: &str, status: bool, reason: &str, message: String| {
        let status = if status { "True" } else { "False" };
        let before = import.condition(type_).filter(|before| before.status == status);
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message,
            observed_generation: import.metadata.generation,
            last_transition_time: before
                .map_or(Time(seconds(now)), |before| before.last_transition_time.clone()),
        }
    };
    let whole = outcome.secret.is_some_and(|secret| is_whole(import, secret));
    let ready = match (provenance, outcome.failure) {
        (Some(_), _) if !whole => {
            let message = format!("someone else changed Secret {secret_name}; the importer puts it right");
            condition(READY, false, "SecretEdited", message)
        }
        (Some(token), _) if token.expires_at > now => {
            let message = format!("Secret {secret_name} holds a token until {}", token.expires_at);
            condition(READY, true, "TokenValid", message)
        }
        (Some(token), _) => {
            let message = format!("the token in Secret {secret_name} expired at {}", token.expires_at);
            condition(READY, false, "TokenExpired", message)
        }
        (None, Some(failure)) => condition(READY, false, failure.reason.as_str(), failure.message.clone()),
        (None, None) => condition(READY, false, "NoToken", format!("Secret {secret_name} holds no token")),
    };
    let refreshed = match outcome.failure {
        None => condition(REFRESHED, true, "Refreshed", "the last try succeeded".into()),
        Some(failure) => condition(REFRESHED, false, failure.reason.as_str(), failure.message.clone()),
    };
    ServiceAccountImportStatus {
        secrets: outcome.secret.map(|_| SecretReference { name: secret_name }).into_iter().collect(),
        observed_generation: import.metadata.generation,
        conditions: vec![ready, refreshed],
        expiration_time: provenance.map(|token| Time(seconds(token.expires_at))),
        refresh_time: provenance.and_then(|token| token.refresh_at).map(|time| Time(seconds(time))),
        service_account_uid: provenance.map(|token| token.service_account_uid.clone()),
    }
}

/// Whether the Secret holds what the importer wrote, as far as its metadata tells.
fn is_whole(import: &ServiceAccountImport, secret: &SecretState) -> bool {
    let chosen = import.spec.secret.as_ref().map_or(&[][..], |secret| &secret.items);
    // Whether there has to be a CA bundle is the link's to say, which may be gone.
    !secret.was_touched() && items(chosen, false).iter().all(|item| secret.keys.contains(&item.key))
}

/// Times in Kubernetes' objects are whole seconds; others would not read back equal.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The status as a merge patch: what is not there any more is null.
fn whole(status: &ServiceAccountImportStatus) -> Value {
    json!({
        "secrets": status.secrets,
        "observedGeneration": status.observed_generation,
        "conditions": status.conditions,
        "expirationTime": status.expiration_time,
        "refreshTime": status.refresh_time,
        "serviceAccountUID": status.service_account_uid,
    })
}

/// An event when things turn, for the worse or the better; none for a refresh like any other.
fn event(import: &ServiceAccountImport, status: &ServiceAccountImportStatus) -> Option<Event> {
    let now = status.conditions.iter().find(|condition| condition.type_ == REFRESHED)?;
    let before = import.condition(REFRESHED);
    if before.is_some_and(|before| before.reason == now.reason) {
        return None;
    }
    let (type_, reason, note) = if now.status == "True" {
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY)?;
        (EventType::Normal, "Imported", &ready.message)
    } else {
        (EventType::Warning, now.reason.as_str(), &now.message)
    };
    Some(Event {
        type_,
        reason: reason.into(),
        note: Some(note.chars().take(NOTE_MAX).collect()),
        action: "Refresh".into(),
        secondary: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Reason;
    use mcsa_client::{ServiceAccountImportSpec, contract};

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn import() -> ServiceAccountImport {
        let mut import = ServiceAccountImport::new("a", ServiceAccountImportSpec::default());
        import.metadata.generation = Some(1);
        import
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

    fn condition<'a>(status: &'a ServiceAccountImportStatus, type_: &str) -> (&'a str, &'a str) {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        (condition.status.as_str(), condition.reason.as_str())
    }

    #[test]
    fn a_failed_refresh_leaves_a_working_token_ready() {
        let failure = Failure::new(Reason::SourceUnreachable, "c2 is away");
        let secret = secret(NOW + 600);
        let outcome = Outcome { secret: Some(&secret), failure: Some(&failure) };
        let before = status(&import(), outcome, at(NOW));
        assert_eq!(condition(&before, READY), ("True", "TokenValid"));
        assert_eq!(condition(&before, REFRESHED), ("False", "SourceUnreachable"));
        let after = status(&import(), outcome, at(NOW + 600));
        assert_eq!(condition(&after, READY), ("False", "TokenExpired"));
    }

    #[test]
    fn a_secret_that_someone_else_emptied_is_not_ready() {
        let failure = Failure::new(Reason::SourceUnreachable, "c2 is away");
        let emptied = holding(&["server"], NOW + 600);
        let outcome = Outcome { secret: Some(&emptied), failure: Some(&failure) };
        assert_eq!(condition(&status(&import(), outcome, at(NOW)), READY), ("False", "SecretEdited"));
    }

    #[test]
    fn nothing_new_is_nothing_to_write_and_nothing_to_tell() {
        let secret = secret(NOW + 600);
        let outcome = Outcome { secret: Some(&secret), failure: None };
        let mut import = import();
        let first = status(&import, outcome, at(NOW));
        assert_eq!(event(&import, &first).map(|event| event.reason).as_deref(), Some("Imported"));
        import.status = Some(first.clone());
        assert_eq!(status(&import, outcome, at(NOW + 5)), first);
        assert!(event(&import, &first).is_none());
    }

    #[test]
    fn transition_times_change_with_the_status_alone() {
        let secret = secret(NOW + 600);
        let mut import = import();
        import.status = Some(status(&import, Outcome { secret: Some(&secret), failure: None }, at(NOW)));
        let failure = Failure::new(Reason::Forbidden, "no");
        let failed = status(&import, Outcome { secret: Some(&secret), failure: Some(&failure) }, at(NOW + 9));
        let time = |type_| {
            let found = failed.conditions.iter().find(|condition| condition.type_ == type_);
            found.unwrap().last_transition_time.0
        };
        assert_eq!((time(READY), time(REFRESHED)), (at(NOW), at(NOW + 9)));
    }

    #[test]
    fn without_a_secret_it_is_said_why() {
        let failure = Failure::new(Reason::ClusterNotLinked, "there is no link to c2");
        let status = status(&import(), Outcome { secret: None, failure: Some(&failure) }, at(NOW));
        assert_eq!(condition(&status, READY), ("False", "ClusterNotLinked"));
        assert!(status.secrets.is_empty() && status.expiration_time.is_none());
    }
}
