//! Connectivity checks. `kubemcsa check` requests one by an annotation on the link's import, because only the
//! importer can check whether it reaches the source.
//!
//! Checks run outside reconciliations, so that no import waits for them. A reconciliation writes the result into
//! the status.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mcsa_client::api::REACHABLE;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cache::{Cache, CheckRequest};
use crate::clock::seconds;
use crate::model::check_result::CheckResult;
use crate::model::failure::{Failure, Reason};
use crate::model::key::ObjectKey;
use crate::source::{ProbeResult, Source};
use crate::watch::context::WatchContext;

/// Tolerated clock difference. A token is invalid before its `nbf`; clients usually allow about this much.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Reason of `Reachable=True`.
const ANSWERED: &str = "Answered";

/// Reason of `Reachable=True` if the clocks differ.
const SKEWED: &str = "ClockSkewed";

fn conclude(request: &CheckRequest, probed: Result<ProbeResult, Failure>, now: Timestamp) -> CheckResult {
    let cluster = &request.import.spec.cluster_name;
    let (status, reason, message) = match probed {
        Ok(probed) => match probed.ahead.filter(|ahead| ahead.abs() > SKEW) {
            None => (
                "True",
                ANSWERED,
                format!("{cluster} is reachable and is the cluster that the link was created for"),
            ),
            Some(ahead) => ("True", SKEWED, skewed(cluster, ahead)),
        },
        Err(failure) => ("False", failure.reason.as_str(), failure.message),
    };
    let before = request.before.as_ref().map(|result| &result.condition);
    let same = before.filter(|before| before.status == status);
    CheckResult {
        request: request.request.to_string(),
        condition: Condition {
            type_: REACHABLE.into(),
            status: status.into(),
            reason: reason.into(),
            message,
            observed_generation: request.import.generation,
            last_transition_time: same
                .map_or_else(|| Time(seconds(now)), |before| before.last_transition_time.clone()),
        },
    }
}

fn skewed(cluster: &str, ahead: SignedDuration) -> String {
    let which = if ahead.is_positive() { "ahead of" } else { "behind" };
    format!(
        "{cluster} is reachable, but its clock is {}s {which} the importer's; correct the clock that is wrong",
        ahead.abs().as_secs()
    )
}

/// Runs requested checks while this replica leads.
pub async fn run(context: Arc<WatchContext>) {
    // Before the first list is complete, an existing link would seem to be missing.
    drop(context.is_synced.subscribe().wait_for(|is_synced| *is_synced).await);
    let mut running = JoinSet::new();
    loop {
        context.fence.opened().await;
        let (requests, later) = context.cache.take_check_requests(Instant::now());
        for request in requests {
            running.spawn(run_check(request, context.clone()));
        }
        let later = async {
            match later {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = context.check_requested.notified() => {}
            () = later => {}
            Some(_) = running.join_next() => {}
        }
    }
}

async fn run_check(request: CheckRequest, context: Arc<WatchContext>) {
    let WatchContext { cache, fence, clock, .. } = &*context;
    let (key, cluster) = (&request.import.key, &request.import.spec.cluster_name);
    let running_check = RunningCheck { cache, key, result: None };
    let link = || {
        let link = cache.link(cluster).ok_or_else(|| Failure::not_linked(cluster))?;
        link.source.map_err(|problem| Failure::new(Reason::InvalidLink, problem))
    };
    let source = link();
    let probed = match &source {
        Ok(source) => probe(source, &request).await,
        Err(failure) => Err(failure.clone()),
    };
    // Discard the result if the link changed meanwhile, or this replica no longer leads.
    let is_same = match (&source, &link()) {
        (Ok(probed_source), Ok(current)) => Arc::ptr_eq(probed_source, current),
        (before, current) => before.is_ok() == current.is_ok(),
    };
    let result = (is_same && fence.is_open()).then(|| conclude(&request, probed, clock.now()));
    if let Some(CheckResult { condition, .. }) = &result {
        let reason = &condition.reason;
        tracing::info!(cluster, import = key.name(), reason, "check finished: {}", condition.message);
    }
    running_check.end(result);
    let mut keys = vec![key.clone()];
    if let Ok(source) = source {
        keys.extend(source.take_waiting());
    }
    context.enqueue(keys);
}

/// A running check. Dropping it, even by a panic, allows the next one.
struct RunningCheck<'a> {
    cache: &'a Cache,
    key: &'a ObjectKey,
    result: Option<CheckResult>,
}

impl RunningCheck<'_> {
    fn end(mut self, result: Option<CheckResult>) {
        self.result = result;
    }
}

impl Drop for RunningCheck<'_> {
    fn drop(&mut self) {
        self.cache.finish_check(self.key, self.result.take());
    }
}

async fn probe(source: &Source, request: &CheckRequest) -> Result<ProbeResult, Failure> {
    let probed = source.probe().await?;
    let pinned = request.import.pinned_uid.as_deref().or(source.pinned_uid());
    match pinned {
        Some(pinned) if *pinned != *probed.cluster_uid => {
            Err(Failure::other_cluster(source.name(), &source.address(), &probed.cluster_uid, pinned))
        }
        _ => Ok(probed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ObservedImport;
    use crate::model::import::Import;
    use crate::model::scope::Scope;
    use kube::runtime::watcher::Event;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
    use mcsa_credentials::contract::{CHECK_REQUESTED, LINK_LABEL, SYSTEM_NAMESPACE};
    use rstest::rstest;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(before: Option<&CheckResult>) -> CheckRequest {
        let spec = ServiceAccountImportSpec { cluster_name: "c2".into(), ..Default::default() };
        CheckRequest {
            import: Arc::new(Import::of(ServiceAccountImport::new("c2", spec))),
            request: "2026-01-01T00:00:00Z".into(),
            before: before.cloned().map(Arc::new),
        }
    }

    fn probed(ahead: Option<i64>) -> Result<ProbeResult, Failure> {
        Ok(ProbeResult { cluster_uid: "u".into(), ahead: ahead.map(SignedDuration::from_secs) })
    }

    #[rstest]
    #[case::reachable(probed(Some(0)), "True", "Answered", "c2 is reachable and")]
    #[case::no_date_header(probed(None), "True", "Answered", "c2 is reachable and")]
    #[case::within_tolerance(probed(Some(-30)), "True", "Answered", "c2 is reachable and")]
    #[case::ahead(probed(Some(95)), "True", "ClockSkewed", "95s ahead of the importer's")]
    #[case::behind(probed(Some(-31)), "True", "ClockSkewed", "31s behind the importer's")]
    #[case::unreachable(
        Err(Failure::new(Reason::SourceUnreachable, "no response")),
        "False",
        "SourceUnreachable",
        "no response"
    )]
    fn condition_follows_the_probe(
        #[case] probed: Result<ProbeResult, Failure>,
        #[case] status: &str,
        #[case] reason: &str,
        #[case] expected: &str,
    ) {
        let CheckResult { request, condition } = conclude(&request(None), probed, at(7));
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), (status, reason));
        assert!(condition.message.contains(expected), "{}", condition.message);
        assert_eq!(request, "2026-01-01T00:00:00Z");
    }

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let since = |result: &CheckResult| result.condition.last_transition_time.0;
        let first = conclude(&request(None), probed(None), at(1));
        let second = conclude(&request(Some(&first)), probed(Some(99)), at(2));
        let failure = Failure::new(Reason::Forbidden, "no");
        let third = conclude(&request(Some(&second)), Err(failure), at(3));
        assert_eq!([&first, &second, &third].map(since), [at(1), at(1), at(3)]);
    }

    #[tokio::test]
    async fn check_that_panics_runs_again() {
        let link = json!({
            "metadata": { "namespace": SYSTEM_NAMESPACE, "name": "c2", "uid": "u", "resourceVersion": "1",
                          "labels": { LINK_LABEL: "true" },
                          "annotations": { CHECK_REQUESTED: "2026-01-01T00:00:00Z" } },
            "spec": { "clusterName": "c2", "namespace": SYSTEM_NAMESPACE, "name": "c1" },
        });
        let (cache, observed) = (Cache::default(), ObservedImport::of(serde_json::from_value(link).unwrap()));
        let key = observed.import.key.clone();
        cache.observe_import(&Scope::All, Event::Apply((key.clone(), Ok(observed))));
        assert_eq!(cache.take_check_requests(Instant::now()).0.len(), 1);
        assert!(!cache.has_check_requests(), "it is running");
        let ended = std::panic::catch_unwind(|| {
            let _running = RunningCheck { cache: &cache, key: &key, result: None };
            panic!("simulated bug");
        });
        assert!(ended.is_err() && cache.has_check_requests());
    }
}
