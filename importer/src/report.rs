//! Last step: the status, and an event when things turn.
//!
//! The status is put, on condition that the import still is the one that we know. That costs the API
//! server less than a patch, and a replica that was frozen with a write on its way can't put back
//! what another one has written since.

use jiff::Timestamp;
use kube::Resource;
use kube::core::Request;
use mcsa_client::api::{READY, REFRESHED};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};

use crate::cache::{Cache, Known, version_of};
use crate::model::failure::{Failure, Retry};
use crate::model::status::{Outcome, Shown, status};
use crate::target::event::{Told, tell};
use crate::target::{Target, parameters};

/// Writes the status, if it says anything new. Says whether it is as it should be then; if not, the
/// import is not the one that we know, and the watch will tell.
///
/// # Errors
/// When the target does not accept it.
pub async fn report(
    target: &Target,
    cache: &Cache,
    known: &Known,
    outcome: Outcome<'_>,
    now: Timestamp,
) -> kube::Result<bool> {
    let Known { import, shown, version, .. } = known;
    let status = status(import, shown, outcome, now);
    let shows = Shown::of(Some(&status));
    if shown.says_the_same_as(&shows) {
        return Ok(true);
    }
    cache.writes_status(import, &shows);
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
    cache.wrote_status(import, shows, version_of(&written));
    // Of the imports that wait for a source, one has tried, and tells.
    let waits = matches!(outcome.failure, Some(Failure { retry: Retry::Rest(_), .. }));
    if let Some(turn) = turn(shown, &shows, &status).filter(|_| !waits) {
        tell(target, import, turn, now).await;
    }
    Ok(true)
}

/// An event when things turn, for the worse or back for the better; none for a success like any
/// other, which the status tells.
fn turn(before: &Shown, now: &Shown, status: &ServiceAccountImportStatus) -> Option<Told> {
    let reason = |shown: &Shown| shown.refreshed.map(|turn| (turn.status, turn.reason));
    let (is_well, reason) = match (reason(before), reason(now)?) {
        (None, (true, _)) => return None,
        (before, now) if before == Some(now) => return None,
        (_, (true, _)) => (true, "Recovered"),
        (_, (false, reason)) => (false, reason),
    };
    let type_ = if is_well { READY } else { REFRESHED };
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some(Told { is_warning: !is_well, reason, note: condition.message.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::Reason;
    use crate::model::import::Import;
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
            let outcome = Outcome { secret: None, failure: failure.as_ref(), answer: None };
            let status = status(&import, &before, outcome, Timestamp::UNIX_EPOCH);
            let now = Shown::of(Some(&status));
            told = turn(&before, &now, &status);
            before = now;
        }
        assert_eq!(told.map(|told| told.reason), expected);
    }
}
