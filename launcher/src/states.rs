//! What this process remembers about each home pod.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::time::Instant;

/// Changes that are not urgent are written at most once in this time. Most pods start sooner, so that the steps between
/// their creation and their start are not written.
const WRITE_INTERVAL: Duration = Duration::from_secs(3);
/// The watch shows a write much sooner. After a restore of etcd, resource versions start again at a lower number.
const MAX_LAG: Duration = Duration::from_secs(30);
/// How often the reason for which a pod waits is reported again, or another reason.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
const NEW_REASON_INTERVAL: Duration = Duration::from_secs(5);
/// A controller of the source may change copied labels back each time.
const COPY_INTERVAL: Duration = Duration::from_secs(10);
/// Warnings of the source that are repeated for a pod: some at once, then one in this time.
const WARNING_BURST: u32 = 10;
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// States of home pods, by UID. [`States::retain`] drops those of pods that are gone.
#[derive(Debug, Default)]
pub(crate) struct States {
    pods: Mutex<HashMap<String, State>>,
}

/// How a reconciliation left a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The pod waits for this reason.
    Waits(&'static str),
}

#[derive(Debug, Default)]
struct State {
    /// The pod as the API server returned it after the latest write, until the watch shows it. A status that is compared
    /// with an older pod would be written twice.
    written: Option<Pod>,
    written_at: Option<Instant>,
    reported: Option<(String, Instant)>,
    /// The outcome of the last reconciliation. `None`: the pod was not reconciled.
    outcome: Option<Outcome>,
    copied_at: Option<Instant>,
    warnings: Option<(u32, Instant)>,
    /// The last state of the remote pod, once that is gone. A watch reports exit codes and, right afterwards, that the pod
    /// is gone, so the store may lose it before its last status is mirrored.
    last_remote: Option<Pod>,
}

impl States {
    /// The latest known state of a home pod: as written, unless the watch has shown a later one.
    pub(crate) fn latest(&self, observed: &Pod) -> Pod {
        self.with(observed, |state| {
            let is_recent = state.written_at.is_some_and(|at| at.elapsed() < MAX_LAG);
            state.written.take_if(|written| !is_recent || version(written) <= version(observed));
            state.written.as_ref().unwrap_or(observed).clone()
        })
    }

    /// Records what the API server returned.
    pub(crate) fn record(&self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let mut pods = self.lock();
        let state = pods.entry(uid).or_default();
        state.written = Some(pod);
        state.written_at = Some(Instant::now());
    }

    /// How long a change that is not urgent must wait.
    pub(crate) fn write_pause(&self, home: &Pod) -> Option<Duration> {
        let at = self.with(home, |state| state.written_at)?;
        WRITE_INTERVAL.checked_sub(at.elapsed()).filter(|pause| !pause.is_zero())
    }

    /// Whether to report now that the pod waits for this reason. Each report is a change of the pod, which is reconciled
    /// at once: without a limit, a reason that changes each time would make a loop.
    pub(crate) fn may_report(&self, home: &Pod, reason: &str) -> bool {
        self.with(home, |state| {
            let is_due = state.reported.as_ref().is_none_or(|(last, at)| {
                let interval = if last == reason { REPORT_INTERVAL } else { NEW_REASON_INTERVAL };
                at.elapsed() >= interval
            });
            if is_due {
                state.reported = Some((reason.to_owned(), Instant::now()));
            }
            is_due
        })
    }

    /// Records how a reconciliation left the pod.
    pub(crate) fn set_outcome(&self, home: &Pod, outcome: Outcome) {
        self.with(home, |state| state.outcome = Some(outcome));
    }

    /// How the last reconciliation left the home pod with this UID. `None`: it was not reconciled.
    pub(crate) fn outcome(&self, home_uid: &str) -> Option<Outcome> {
        self.lock().get(home_uid)?.outcome
    }

    /// How long labels and annotations must wait before they are copied again. `None`: copy them now.
    pub(crate) fn copy_pause(&self, home: &Pod) -> Option<Duration> {
        self.with(home, |state| {
            let pause = state.copied_at.and_then(|at| COPY_INTERVAL.checked_sub(at.elapsed()));
            let pause = pause.filter(|pause| !pause.is_zero());
            if pause.is_none() {
                state.copied_at = Some(Instant::now());
            }
            pause
        })
    }

    /// Whether to repeat another warning of the source.
    pub(crate) fn may_warn(&self, home: &Pod) -> bool {
        self.with(home, |state| {
            let (used, since) = state.warnings.unwrap_or((0, Instant::now()));
            let regained = since.elapsed().as_secs() / WARNING_INTERVAL.as_secs();
            let used = used.saturating_sub(u32::try_from(regained).unwrap_or(u32::MAX));
            let since = if regained > 0 { Instant::now() } else { since };
            let may_warn = used < WARNING_BURST;
            state.warnings = Some((used + u32::from(may_warn), since));
            may_warn
        })
    }

    /// Records the last state of the remote pod of the home pod with this UID.
    pub(crate) fn set_last_remote(&self, home_uid: &str, remote: Pod) {
        self.lock().entry(home_uid.to_owned()).or_default().last_remote = Some(remote);
    }

    /// The last state of the remote pod, if that was observed and is gone.
    pub(crate) fn last_remote(&self, home: &Pod) -> Option<Pod> {
        self.with(home, |state| state.last_remote.clone())
    }

    /// Drops the states of all other pods.
    pub(crate) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| exists(uid));
    }

    fn with<T>(&self, home: &Pod, read: impl FnOnce(&mut State) -> T) -> T {
        read(self.lock().entry(home.uid().unwrap_or_default()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions of one kind increase with each write, and are comparable
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>).
fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn pod(version: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u".into());
        pod.metadata.resource_version = Some(version.into());
        pod
    }

    fn latest(states: &States, observed: &str) -> Option<String> {
        states.latest(&pod(observed)).metadata.resource_version
    }

    #[tokio::test(start_paused = true)]
    async fn a_written_pod_counts_until_the_watch_shows_it() {
        let states = States::default();
        states.record(pod("10"));
        assert_eq!(latest(&states, "9").as_deref(), Some("10"));
        assert_eq!(latest(&states, "10").as_deref(), Some("10"));
        // The pod is no longer kept.
        assert_eq!(latest(&states, "9").as_deref(), Some("9"));
        // Versions of a restored cluster are lower.
        states.record(pod("10"));
        advance(MAX_LAG).await;
        assert_eq!(latest(&states, "3").as_deref(), Some("3"));
    }

    #[tokio::test(start_paused = true)]
    async fn reports_writes_and_warnings_are_limited() {
        let (states, home) = (States::default(), pod("1"));
        assert!(states.may_report(&home, "a") && !states.may_report(&home, "a"));
        assert!(!states.may_report(&home, "b"));
        advance(NEW_REASON_INTERVAL).await;
        assert!(!states.may_report(&home, "a") && states.may_report(&home, "b"));
        advance(REPORT_INTERVAL).await;
        assert!(states.may_report(&home, "b"));

        assert_eq!(states.write_pause(&home), None);
        states.record(home.clone());
        assert_eq!(states.write_pause(&home), Some(WRITE_INTERVAL));
        assert_eq!(states.copy_pause(&home), None);
        assert_eq!(states.copy_pause(&home), Some(COPY_INTERVAL));

        let burst = (0..100).filter(|_| states.may_warn(&home)).count();
        assert_eq!(burst, WARNING_BURST as usize);
        advance(WARNING_INTERVAL).await;
        assert!(states.may_warn(&home) && !states.may_warn(&home));
    }

    #[test]
    fn states_of_pods_that_are_gone_are_dropped() {
        let states = States::default();
        states.record(pod("1"));
        states.set_last_remote("other", pod("1"));
        states.retain(|uid| uid == "u");
        assert_eq!(states.lock().keys().collect::<Vec<_>>(), ["u"]);
    }
}
