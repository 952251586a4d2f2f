//! Check requests and results. Only links have them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use mcsa_credentials::contract::CHECK_REQUESTED;
use tokio::time::Instant;

use super::{Cache, State};
use crate::model::check_result::CheckResult;
use crate::model::import::Import;
use crate::model::key::ObjectKey;

/// The shortest time between two checks of a source.
const PAUSE: Duration = Duration::from_secs(5);

/// Maximum length of a request. Times are shorter.
const MAX_REQUEST_LENGTH: usize = 64;

/// The check request and result that a watch reports for a link.
#[derive(Clone, Debug, Default)]
pub struct ObservedCheck {
    pub requested: Option<Box<str>>,
    pub result: Option<CheckResult>,
}

impl ObservedCheck {
    /// Reads the annotation and the status. A request that is not a time is ignored.
    pub fn of(import: &ServiceAccountImport, status: Option<&ServiceAccountImportStatus>) -> Self {
        let value = import.annotations().get(CHECK_REQUESTED);
        let is_time =
            |value: &&String| value.len() <= MAX_REQUEST_LENGTH && value.parse::<Timestamp>().is_ok();
        Self {
            requested: value.filter(is_time).map(|value| value.as_str().into()),
            result: status.and_then(CheckResult::of),
        }
    }
}

/// State of one link's check.
#[derive(Debug, Default)]
pub(super) struct CheckState {
    requested: Option<Box<str>>,
    /// The result in the status, as the watch reports it.
    in_status: Option<Arc<CheckResult>>,
    /// A result that is not in the status yet.
    result: Option<Arc<CheckResult>>,
    is_running: bool,
}

impl CheckState {
    fn result(&self) -> Option<&Arc<CheckResult>> {
        self.result.as_ref().or(self.in_status.as_ref())
    }

    fn is_pending(&self) -> bool {
        let checked_request = self.result().map(|result| result.request.as_str());
        !self.is_running && self.requested.is_some() && self.requested.as_deref() != checked_request
    }

    fn observe(&mut self, observed: ObservedCheck) {
        self.requested = observed.requested;
        self.in_status = observed.result.map(Arc::new);
        let has_result =
            |in_status: &Arc<CheckResult>| Some(in_status.request.as_str()) == self.requested.as_deref();
        if self.in_status.as_ref().is_some_and(has_result) {
            self.result = None;
        }
    }
}

/// A check to run.
#[derive(Clone, Debug)]
pub struct CheckRequest {
    /// The link's import.
    pub import: Arc<Import>,
    /// Value of the annotation.
    pub request: Box<str>,
    /// The previous result.
    pub before: Option<Arc<CheckResult>>,
}

impl Cache {
    /// Whether a check is requested, to be run now or after the pause.
    pub fn has_check_requests(&self) -> bool {
        self.state().checks.values().any(CheckState::is_pending)
    }

    /// Takes the checks to run now. Checks of sources that were checked recently must wait: also returns when the first
    /// of these is due.
    pub fn take_check_requests(&self, now: Instant) -> (Vec<CheckRequest>, Option<Instant>) {
        let mut state = self.state();
        let State { checks, imports, last_checks, .. } = &mut *state;
        last_checks.retain(|_, time| *time + PAUSE > now);
        let (mut requests, mut later) = (Vec::new(), None::<Instant>);
        for (key, check) in checks.iter_mut().filter(|(_, check)| check.is_pending()) {
            let (Some(known), Some(request)) = (imports.get(key), check.requested.clone()) else { continue };
            let source = &known.import.spec.cluster_name;
            match last_checks.get(source).map(|time| *time + PAUSE) {
                Some(time) => later = Some(later.map_or(time, |earlier| earlier.min(time))),
                None => {
                    last_checks.insert(source.clone(), now);
                    check.is_running = true;
                    let before = check.result().cloned();
                    requests.push(CheckRequest { import: known.import.clone(), request, before });
                }
            }
        }
        (requests, later)
    }

    /// Ends a check. Without a result, it runs again.
    pub fn finish_check(&self, key: &ObjectKey, result: Option<CheckResult>) {
        if let Some(check) = self.state().checks.get_mut(key) {
            check.is_running = false;
            check.result = result.map(Arc::new).or(check.result.take());
        }
    }

    /// The result that the status of a link's import should have.
    pub fn check_result(&self, key: &ObjectKey) -> Option<Arc<CheckResult>> {
        self.state().checks.get(key)?.result().cloned()
    }
}

impl State {
    pub(super) fn observe_check(&mut self, key: &ObjectKey, observed: Option<ObservedCheck>) {
        match observed {
            Some(observed) => self.checks.entry(key.clone()).or_default().observe(observed),
            None => drop(self.checks.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ObservedImport;
    use crate::model::scope::Scope;
    use kube::runtime::watcher::Event;
    use mcsa_credentials::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
    use serde_json::json;
    use std::collections::BTreeMap;

    const FIRST: &str = "2026-01-01T00:00:00Z";
    const SECOND: &str = "2026-01-01T00:00:01Z";

    /// Observes a link's import of this version, with this request and result.
    fn observe(cache: &Cache, version: u64, requested: Option<&str>, checked_request: Option<&str>) {
        let condition = checked_request.map(|_| {
            json!({ "type": "Reachable", "status": "True", "reason": "Answered", "message": "",
                    "lastTransitionTime": FIRST })
        });
        let annotations: BTreeMap<_, _> =
            requested.map(|value| (CHECK_REQUESTED, value)).into_iter().collect();
        let link = json!({
            "metadata": {
                "namespace": SYSTEM_NAMESPACE, "name": "c2", "uid": "u", "resourceVersion": version.to_string(),
                "labels": { LINK_LABEL: "true" }, "annotations": annotations,
            },
            "spec": { "clusterName": "c2", "namespace": SYSTEM_NAMESPACE, "name": "c1" },
            "status": { "checkedRequest": checked_request, "conditions": Vec::from_iter(condition) },
        });
        let observed = ObservedImport::of(serde_json::from_value(link).unwrap());
        cache.observe_import(&Scope::All, Event::Apply((observed.import.key.clone(), Ok(observed))));
    }

    fn requests(cache: &Cache, now: Instant) -> Vec<String> {
        cache.take_check_requests(now).0.iter().map(|check| check.request.to_string()).collect()
    }

    fn result_of(request: &str) -> Option<CheckResult> {
        let status = json!({ "checkedRequest": request, "conditions": [{ "type": "Reachable", "status": "True",
            "reason": "Answered", "message": "", "lastTransitionTime": FIRST }] });
        CheckResult::of(&serde_json::from_value(status).unwrap())
    }

    #[tokio::test]
    async fn requests_are_checked_once_and_rate_limited() {
        let (cache, key, now) = (Cache::default(), ObjectKey::new(SYSTEM_NAMESPACE, "c2"), Instant::now());
        observe(&cache, 1, None, None);
        assert!(!cache.has_check_requests(), "no request");
        observe(&cache, 2, Some(FIRST), None);
        assert!(cache.has_check_requests());
        assert_eq!(requests(&cache, now), [FIRST]);
        assert_eq!(requests(&cache, now), [""; 0], "it is running");
        // A watch event before the status write does not drop the result.
        cache.finish_check(&key, result_of(FIRST));
        observe(&cache, 3, Some(FIRST), None);
        assert!(!cache.has_check_requests());
        assert_eq!(cache.check_result(&key).map(|result| result.request.clone()), Some(FIRST.into()));
        observe(&cache, 4, Some(SECOND), Some(FIRST));
        assert_eq!(cache.take_check_requests(now + PAUSE / 2).1, Some(now + PAUSE));
        assert_eq!(requests(&cache, now + PAUSE), [SECOND]);
        // The link changed during the check.
        cache.finish_check(&key, None);
        assert_eq!(requests(&cache, now + 2 * PAUSE), [SECOND]);
        // Another replica has written the result.
        observe(&cache, 5, Some(SECOND), Some(SECOND));
        cache.finish_check(&key, None);
        assert!(!cache.has_check_requests());
        observe(&cache, 6, None, Some(SECOND));
        assert_eq!(
            cache.check_result(&key).map(|result| result.request.clone()),
            Some(SECOND.into()),
            "the result stays"
        );
    }

    #[tokio::test]
    async fn recreating_the_import_does_not_bypass_the_rate_limit() {
        let (cache, now) = (Cache::default(), Instant::now());
        observe(&cache, 1, Some(FIRST), None);
        assert_eq!(requests(&cache, now), [FIRST]);
        for event in [Event::Init, Event::InitDone] {
            cache.observe_import(&Scope::All, event);
        }
        observe(&cache, 2, Some(SECOND), None);
        assert_eq!(cache.take_check_requests(now + PAUSE / 2).1, Some(now + PAUSE));
        assert_eq!(requests(&cache, now + PAUSE), [SECOND]);
        assert_eq!(requests(&cache, now + 3 * PAUSE), [""; 0]);
        assert!(cache.state().last_checks.is_empty(), "old entries are dropped");
    }

    #[tokio::test]
    async fn request_that_is_not_a_time_is_ignored() {
        let cache = Cache::default();
        for (version, nonsense) in (1..).zip(["", "now", &"2026-01-01T00:00:00Z".repeat(9)]) {
            observe(&cache, version, Some(nonsense), None);
            assert!(!cache.has_check_requests(), "{nonsense}");
        }
    }
}
