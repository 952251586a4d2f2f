//! What people ask about links, and what they are told. Of links alone: nothing of it is kept for imports.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use mcsa_client::contract::CHECK_REQUESTED;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use tokio::time::Instant;

use super::{Cache, State};
use crate::model::check_result::CheckResult;
use crate::model::import::Import;
use crate::model::key::ObjectKey;

/// How long a source is not asked again on behalf of people, however many ask.
const PAUSE: Duration = Duration::from_secs(5);

/// A time needs no more, and what is longer is repeated in no status.
const LONGEST: usize = 64;

/// What a watch tells of a link.
#[derive(Debug, Default)]
pub struct SeenCheck {
    /// The request that was made last.
    pub requested: Option<Box<str>>,
    /// The answer in the status.
    pub answer: Option<CheckResult>,
}

impl SeenCheck {
    /// What the import of a link, and its status, say. A request that is no time is none.
    pub fn of(import: &ServiceAccountImport, status: Option<&ServiceAccountImportStatus>) -> Self {
        let value = import.annotations().get(CHECK_REQUESTED);
        let is_time = |value: &&String| value.len() <= LONGEST && value.parse::<Timestamp>().is_ok();
        Self {
            requested: value.filter(is_time).map(|value| value.as_str().into()),
            answer: status.and_then(CheckResult::of),
        }
    }
}

/// What is asked about one link.
#[derive(Debug, Default)]
pub(super) struct Check {
    requested: Option<Box<str>>,
    /// The answer in the status, as the watch tells.
    shown: Option<Arc<CheckResult>>,
    /// An answer that is to stand there.
    found: Option<Arc<CheckResult>>,
    is_asking: bool,
}

impl Check {
    fn answer(&self) -> Option<&Arc<CheckResult>> {
        self.found.as_ref().or(self.shown.as_ref())
    }

    fn is_open(&self) -> bool {
        let answered = self.answer().map(|answer| answer.request.as_str());
        !self.is_asking && self.requested.is_some() && self.requested.as_deref() != answered
    }

    fn see(&mut self, seen: SeenCheck) {
        self.requested = seen.requested;
        self.shown = seen.answer.map(Arc::new);
        let is_answered =
            |shown: &Arc<CheckResult>| Some(shown.request.as_str()) == self.requested.as_deref();
        if self.shown.as_ref().is_some_and(is_answered) {
            self.found = None;
        }
    }
}

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Question {
    /// The import of the link.
    pub import: Arc<Import>,
    /// The request that is answered by it.
    pub request: Box<str>,
    /// What the status says of an earlier one.
    pub before: Option<Arc<CheckResult>>,
}

impl Cache {
    /// Whether anything is to be found out, now or after a pause.
    pub fn is_asked(&self) -> bool {
        self.state().checks.values().any(Check::is_open)
    }

    /// What is to be found out now, each said once; and when there will be more, which had its answer only
    /// just.
    pub fn questions(&self, now: Instant) -> (Vec<Question>, Option<Instant>) {
        let mut state = self.state();
        let State { checks, imports, asked, .. } = &mut *state;
        asked.retain(|_, time| *time + PAUSE > now);
        let (mut questions, mut later) = (Vec::new(), None::<Instant>);
        for (key, check) in checks.iter_mut().filter(|(_, check)| check.is_open()) {
            let (Some(known), Some(request)) = (imports.get(key), check.requested.clone()) else { continue };
            let source = &known.import.spec.cluster_name;
            match asked.get(source).map(|time| *time + PAUSE) {
                Some(time) => later = Some(later.map_or(time, |earlier| earlier.min(time))),
                None => {
                    asked.insert(source.clone(), now);
                    check.is_asking = true;
                    let before = check.answer().cloned();
                    questions.push(Question { import: known.import.clone(), request, before });
                }
            }
        }
        (questions, later)
    }

    /// Ends a question: with an answer, or to be asked again.
    pub fn found_out(&self, key: &ObjectKey, answer: Option<CheckResult>) {
        if let Some(check) = self.state().checks.get_mut(key) {
            check.is_asking = false;
            check.found = answer.map(Arc::new).or(check.found.take());
        }
    }

    /// What the status of a link's import has to say to whoever asked last.
    pub fn answer(&self, key: &ObjectKey) -> Option<Arc<CheckResult>> {
        self.state().checks.get(key)?.answer().cloned()
    }
}

impl State {
    pub(super) fn see_check(&mut self, key: &ObjectKey, seen: Option<SeenCheck>) {
        match seen {
            Some(seen) => self.checks.entry(key.clone()).or_default().see(seen),
            None => drop(self.checks.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::SeenImport;
    use crate::model::scope::Scope;
    use kube::runtime::watcher::Event;
    use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
    use serde_json::json;
    use std::collections::BTreeMap;

    const FIRST: &str = "2026-01-01T00:00:00Z";
    const SECOND: &str = "2026-01-01T00:00:01Z";

    /// The import of a link as of this version, with this request and this answer.
    fn see(cache: &Cache, version: u64, requested: Option<&str>, answered: Option<&str>) {
        let condition = answered.map(|_| {
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
            "status": { "checkedRequest": answered, "conditions": Vec::from_iter(condition) },
        });
        let seen = SeenImport::of(serde_json::from_value(link).unwrap());
        cache.see_import(&Scope::All, Event::Apply((seen.import.key.clone(), Some(seen))));
    }

    fn requests(cache: &Cache, now: Instant) -> Vec<String> {
        cache.questions(now).0.iter().map(|question| question.request.to_string()).collect()
    }

    fn answer(request: &str) -> Option<CheckResult> {
        let status = json!({ "checkedRequest": request, "conditions": [{ "type": "Reachable", "status": "True",
            "reason": "Answered", "message": "", "lastTransitionTime": FIRST }] });
        CheckResult::of(&serde_json::from_value(status).unwrap())
    }

    #[tokio::test]
    async fn each_request_is_answered_once_and_not_too_often() {
        let (cache, key, now) = (Cache::default(), ObjectKey::new(SYSTEM_NAMESPACE, "c2"), Instant::now());
        see(&cache, 1, None, None);
        assert!(!cache.is_asked(), "nobody asks");
        see(&cache, 2, Some(FIRST), None);
        assert!(cache.is_asked());
        assert_eq!(requests(&cache, now), [FIRST]);
        assert_eq!(requests(&cache, now), [""; 0], "it is being asked");
        // Not yet in the status; what the watch tells meanwhile does not make it forgotten.
        cache.found_out(&key, answer(FIRST));
        see(&cache, 3, Some(FIRST), None);
        assert!(!cache.is_asked());
        assert_eq!(cache.answer(&key).map(|answer| answer.request.clone()), Some(FIRST.into()));
        see(&cache, 4, Some(SECOND), Some(FIRST));
        assert_eq!(cache.questions(now + PAUSE / 2).1, Some(now + PAUSE));
        assert_eq!(requests(&cache, now + PAUSE), [SECOND]);
        // The source became another one while it was asked.
        cache.found_out(&key, None);
        assert_eq!(requests(&cache, now + 2 * PAUSE), [SECOND]);
        // Another replica has answered.
        see(&cache, 5, Some(SECOND), Some(SECOND));
        cache.found_out(&key, None);
        assert!(!cache.is_asked());
        see(&cache, 6, None, Some(SECOND));
        assert_eq!(cache.answer(&key).map(|answer| answer.request.clone()), Some(SECOND.into()), "it stays");
    }

    #[tokio::test]
    async fn who_makes_the_import_anew_waits_too() {
        let (cache, key, now) = (Cache::default(), ObjectKey::new(SYSTEM_NAMESPACE, "c2"), Instant::now());
        see(&cache, 1, Some(FIRST), None);
        assert_eq!(requests(&cache, now), [FIRST]);
        cache.see_import(&Scope::All, Event::Delete((key, None)));
        see(&cache, 2, Some(SECOND), None);
        assert_eq!(cache.questions(now + PAUSE / 2).1, Some(now + PAUSE));
        assert_eq!(requests(&cache, now + PAUSE), [SECOND]);
        assert_eq!(requests(&cache, now + 3 * PAUSE), [""; 0]);
        assert!(cache.state().asked.is_empty(), "what was long ago is not remembered");
    }

    #[tokio::test]
    async fn what_is_no_time_is_no_request() {
        let cache = Cache::default();
        for (version, nonsense) in (1..).zip(["", "now", &"2026-01-01T00:00:00Z".repeat(9)]) {
            see(&cache, version, Some(nonsense), None);
            assert!(!cache.is_asked(), "{nonsense}");
        }
    }
}
