//! Last step: write the status, and emit an event if the condition `Refreshed` changed.
//!
//! The status is replaced on condition of the resource version. That costs the API server less than a patch,
//! and a late write of a replica that was frozen can't overwrite a newer status.

use jiff::Timestamp;
use kube::Resource;
use kube::core::Request;
use mcsa_client::api::{READY, REFRESHED};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};

use crate::cache::{Cache, CachedImport, version_of};
use crate::model::status::{Outcome, StatusSummary, status};
use crate::target::event::{EventContent, emit};
use crate::target::{Target, parameters};

/// Writes the status if it changed. `had_own_failure`: whether an attempt for this import failed since its last success,
/// so that its recovery is news. Returns whether it is up to date; if not, the import changed meanwhile,
/// and the watch will enqueue it.
///
/// # Errors
/// If the target rejects the write.
pub async fn report(
    target: &Target,
    cache: &Cache,
    known: &CachedImport,
    outcome: Outcome<'_>,
    had_own_failure: bool,
    now: Timestamp,
) -> kube::Result<bool> {
    let CachedImport { import, summary, version, .. } = known;
    let status = status(import, summary, outcome, now);
    let new_summary = StatusSummary::of(Some(&status));
    if summary.is_same_as(&new_summary) {
        return Ok(true);
    }
    cache.record_pending_status(import, &new_summary);
    let mut object = import.object();
    object.metadata.resource_version = Some(version.to_string());
    object.status = Some(status.clone());
    let object = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
    let imports = Request::new(ServiceAccountImport::url_path(&(), Some(import.key.namespace())));
    let put = imports.replace_subresource("status", import.key.name(), &parameters(), object);
    let written = match target.write(put).await {
        Ok(written) => written,
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => return Ok(false),
        Err(error) => return Err(error),
    };
    cache.record_written_status(import, new_summary, version_of(&written));
    let event = transition_event(summary, &new_summary, &status);
    if let Some(event) = event.filter(|_| follows_an_attempt(outcome, had_own_failure)) {
        emit(target, import, event, now).await;
    }
    Ok(true)
}

/// Whether the failure, or the failure that ended, is that of an attempt for this import. Thousands of imports may wait
/// for a source: events about each would delay their refreshes.
fn follows_an_attempt(outcome: Outcome<'_>, had_own_failure: bool) -> bool {
    outcome.failure.map_or(had_own_failure, |failure| !failure.waits_for_source())
}

/// The event for a new failure or a recovery; `None` for an ordinary success.
fn transition_event(
    before: &StatusSummary,
    now: &StatusSummary,
    status: &ServiceAccountImportStatus,
) -> Option<EventContent> {
    let reason =
        |summary: &StatusSummary| summary.refreshed.map(|condition| (condition.status, condition.reason));
    let (is_recovered, reason) = match (reason(before), reason(now)?) {
        (None, (true, _)) => return None,
        (before, now) if before == Some(now) => return None,
        (_, (true, _)) => (true, "Recovered"),
        (_, (false, reason)) => (false, reason),
    };
    let type_ = if is_recovered { READY } else { REFRESHED };
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some(EventContent { is_warning: !is_recovered, reason, note: condition.message.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::{Failure, Reason, Retry};
    use crate::model::import::Import;
    use mcsa_client::ServiceAccountImportSpec;
    use rstest::rstest;
    use std::time::Duration;

    #[rstest]
    #[case::first_success(&[None], None)]
    #[case::another_success(&[None, None], None)]
    #[case::first_failure(&[Some(Reason::Forbidden)], Some("Forbidden"))]
    #[case::failure(&[None, Some(Reason::Forbidden)], Some("Forbidden"))]
    #[case::same_failure_again(&[Some(Reason::Forbidden), Some(Reason::Forbidden)], None)]
    #[case::other_failure(&[Some(Reason::Forbidden), Some(Reason::Throttled)], Some("Throttled"))]
    #[case::recovery(&[Some(Reason::Forbidden), None], Some("Recovered"))]
    fn events_report_transitions(#[case] failures: &[Option<Reason>], #[case] expected: Option<&str>) {
        let import = Import::of(ServiceAccountImport::new("a", ServiceAccountImportSpec::default()));
        let (mut before, mut event) = (StatusSummary::default(), None);
        for failure in failures {
            let failure = failure.map(|reason| Failure::new(reason, "what is wrong"));
            let outcome = Outcome { secret: None, failure: failure.as_ref(), revocation: None, check: None };
            let status = status(&import, &before, outcome, Timestamp::UNIX_EPOCH);
            let now = StatusSummary::of(Some(&status));
            event = transition_event(&before, &now, &status);
            before = now;
        }
        assert_eq!(event.map(|event| event.reason), expected);
    }

    #[rstest]
    #[case::own_failure(Some(Retry::BackOff(Duration::ZERO)), false, true)]
    #[case::waits(Some(Retry::BreakerOpen(Timestamp::UNIX_EPOCH)), false, false)]
    #[case::waits_after_its_own_failure(Some(Retry::BreakerOpen(Timestamp::UNIX_EPOCH)), true, false)]
    #[case::recovers_from_its_own_failure(None, true, true)]
    #[case::has_only_waited(None, false, false)]
    fn imports_that_only_wait_emit_no_event(
        #[case] retry: Option<Retry>,
        #[case] had_own_failure: bool,
        #[case] expected: bool,
    ) {
        let failure =
            retry.map(|retry| Failure { retry, ..Failure::new(Reason::SourceUnreachable, "no response") });
        let outcome = Outcome { secret: None, failure: failure.as_ref(), revocation: None, check: None };
        assert_eq!(follows_an_attempt(outcome, had_own_failure), expected);
    }
}
