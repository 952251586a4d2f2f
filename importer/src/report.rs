//! Last step: the status, and an event when things turn.
//!
//! The status is put, on condition that the import still is the one that we know. That costs the API
//! server less than a patch, and a replica that was frozen with a write on its way can't put back
//! what another one has written since.

use jiff::Timestamp;
use kube::Resource;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Request;
use kube::runtime::events::{Event, EventType};
use mcsa_client::contract::FIELD_MANAGER;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use mcsa_runtime::errors;

use crate::cache::Known;
use crate::import::Import;
use crate::status::{Outcome, Shown, status};
use crate::target::Target;

/// An event's note may have this many characters.
const NOTE_MAX: usize = 1000;

/// What became of the status.
#[derive(Debug)]
pub enum Reported {
    /// It says so already.
    Unchanged,
    /// It was written: what it says, and the version that the import has since.
    Written(Shown, u64),
    /// The import is not the one that we know; the watch will tell.
    Outdated,
}

/// Writes the status, if it says anything new.
///
/// # Errors
/// When the target does not accept it.
pub async fn report(
    target: &Target,
    known: &Known,
    outcome: Outcome<'_>,
    now: Timestamp,
) -> Result<Reported, kube::Error> {
    let Known { import, shown, version, .. } = known;
    let status = status(import, shown, outcome, now);
    let shows = Shown::of(Some(&status));
    if shown.says_the_same_as(&shows) {
        return Ok(Reported::Unchanged);
    }
    let mut object = import.object();
    object.metadata.resource_version = Some(version.to_string());
    object.status = Some(status.clone());
    let object = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
    let imports = Request::new(ServiceAccountImport::url_path(&(), Some(import.key.namespace())));
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let put = imports.replace_subresource("status", import.key.name(), &parameters, object);
    let written = match target.write(put).await {
        Ok(written) => written,
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return Ok(Reported::Outdated),
        Err(error) => return Err(error),
    };
    if let Some(event) = turn(shown, &shows, &status) {
        tell(target, import, event).await;
    }
    Ok(Reported::Written(shows, version_of(&written)))
}

/// The number in a resource version; 0 where it is none. API servers' resource versions can be
/// compared as numbers (KEP-5504).
pub fn version_of(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Writes an event. The status says the same, so one that can't be written now is let go: later, it
/// would only confuse.
pub async fn tell(target: &Target, import: &Import, event: Event) {
    let about = import.object().object_ref(&());
    let written = target.call(async { target.recorder.publish(&event, &about).await });
    if let Err(error) = written.await {
        let (cluster, namespace, import) =
            (&import.spec.cluster_name, import.key.namespace(), import.key.name());
        let (reason, error) = ("EventNotWritten", errors::line(&error));
        tracing::warn!(cluster, namespace, import, reason, error, "can't write an event");
    }
}

/// An event about an import.
pub fn event(type_: EventType, reason: &str, note: &str) -> Event {
    let note = Some(note.chars().take(NOTE_MAX).collect());
    Event { type_, reason: reason.into(), note, action: "Refresh".into(), secondary: None }
}

/// An event when things turn, for the worse or back for the better; none for a success like any
/// other, which the status tells.
fn turn(before: &Shown, now: &Shown, status: &ServiceAccountImportStatus) -> Option<Event> {
    let reason = |shown: &Shown| shown.refreshed.map(|turn| (turn.status, turn.reason));
    let (is_well, what) = reason(now)?;
    if reason(before).map_or(is_well, |before| before == (is_well, what)) {
        return None;
    }
    let message = |index: usize| status.conditions.get(index).map(|condition| condition.message.as_str());
    let [ready, refreshed] = [message(0)?, message(1)?];
    Some(match is_well {
        true => event(EventType::Normal, "Recovered", ready),
        false => event(EventType::Warning, what, refreshed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Failure, Reason};
    use mcsa_client::ServiceAccountImportSpec;
    use rstest::rstest;

    #[rstest]
    #[case::first_success(&[None], None)]
    #[case::another_success(&[None, None], None)]
    #[case::first_failure(&[Some(Reason::Forbidden)], Some("Forbidden"))]
    #[case::failure(&[None, Some(Reason::Forbidden)], Some("Forbidden"))]
    #[case::again(&[Some(Reason::Forbidden), Some(Reason::Forbidden)], None)]
    #[case::another(&[Some(Reason::Forbidden), Some(Reason::Throttled)], Some("Throttled"))]
    #[case::success(&[Some(Reason::Forbidden), None], Some("Recovered"))]
    fn events_tell_of_turns(#[case] failures: &[Option<Reason>], #[case] expected: Option<&str>) {
        let import = Import::of(ServiceAccountImport::new("a", ServiceAccountImportSpec::default()));
        let (mut before, mut told) = (Shown::default(), None);
        for failure in failures {
            let failure = failure.map(|reason| Failure::new(reason, "what is wrong"));
            let outcome = Outcome { secret: None, failure: failure.as_ref() };
            let status = status(&import, &before, outcome, Timestamp::UNIX_EPOCH);
            let now = Shown::of(Some(&status));
            told = turn(&before, &now, &status);
            before = now;
        }
        assert_eq!(told.map(|event| event.reason).as_deref(), expected);
    }
}
