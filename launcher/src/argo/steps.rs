//! What this process remembers about each step of a source.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::step::Step;
use crate::mirror;

/// The steps whose home pods are bound to a virtual node.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// By the UID of the home pod. A step that is tried again has another pod.
    steps: Mutex<HashMap<String, State>>,
}

#[derive(Debug)]
struct State {
    /// The home pod.
    namespace: String,
    pod: String,
    copied: Copied,
    /// When the remote pod was first seen ended.
    ended_at: Option<Instant>,
}

/// What was copied of a step's outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// There may be a new report.
    Outdated,
    /// The last known report.
    Latest,
    /// Everything: nothing more will come.
    All,
    /// Not everything, for this reason, and nothing more will come.
    GivenUp(String),
}

impl Steps {
    /// Adds the step of a home pod, if it is one that has not ended.
    pub(crate) fn observe(&self, home: &Pod) {
        if let Some(step) = Step::of(home).filter(|_| !mirror::is_terminal(home)) {
            self.with(&step, |_| ());
        }
    }

    /// Records that there is a new report of the home pod with this UID. Returns namespace and name of the pod, if the report
    /// is to be copied.
    pub(super) fn report(&self, uid: &str) -> Option<(String, String)> {
        let mut steps = self.lock();
        let state = steps.get_mut(uid)?;
        if matches!(state.copied, Copied::All | Copied::GivenUp(_)) {
            return None;
        }
        state.copied = Copied::Outdated;
        Some((state.namespace.clone(), state.pod.clone()))
    }

    /// What was copied of a step. The step counts as copied from now on, until another report.
    pub(super) fn take(&self, step: &Step) -> Copied {
        self.with(step, |state| match &state.copied {
            Copied::Outdated => std::mem::replace(&mut state.copied, Copied::Latest),
            copied => copied.clone(),
        })
    }

    pub(super) fn set(&self, step: &Step, copied: Copied) {
        self.with(step, |state| state.copied = copied);
    }

    /// For how long the remote pod is known to have ended.
    pub(super) fn since_end(&self, step: &Step) -> Duration {
        self.with(step, |state| *state.ended_at.get_or_insert_with(Instant::now)).elapsed()
    }

    /// Drops the steps of all other home pods.
    pub(crate) fn retain(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    fn with<T>(&self, step: &Step, change: impl FnOnce(&mut State) -> T) -> T {
        let new = || State {
            namespace: step.namespace.clone(),
            pod: step.pod.clone(),
            copied: Copied::Outdated,
            ended_at: None,
        };
        change(self.lock().entry(step.uid.clone()).or_insert_with(new))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str) -> Pod {
        let workflow =
            json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u" });
        let metadata = json!({
            "name": name, "namespace": "team-a", "uid": uid,
            "labels": { "workflows.argoproj.io/workflow": "w" },
            "annotations": { "workflows.argoproj.io/node-id": "w-1" },
            "ownerReferences": [workflow],
        });
        let spec = json!({ "containers": [{ "name": "main" }] });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    fn key(pod: &str) -> Option<(String, String)> {
        Some(("team-a".into(), pod.into()))
    }

    #[test]
    fn each_report_is_copied_once() {
        let (steps, pod) = (Steps::default(), pod("p", "1"));
        let step = Step::of(&pod).unwrap();
        assert_eq!(steps.report("1"), None);
        steps.observe(&pod);
        // Before the first report is noticed, one may exist.
        assert_eq!([steps.take(&step), steps.take(&step)], [Copied::Outdated, Copied::Latest]);
        assert_eq!(steps.report("1"), key("p"));
        steps.observe(&pod);
        assert_eq!([steps.take(&step), steps.take(&step)], [Copied::Outdated, Copied::Latest]);
        assert_eq!(steps.report("2"), None);

        for end in [Copied::All, Copied::GivenUp("why".into())] {
            steps.set(&step, end.clone());
            assert_eq!(steps.report("1"), None);
            assert_eq!([steps.take(&step), steps.take(&step)], [end.clone(), end]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_pod_of_the_step_starts_anew() {
        let (steps, first) = (Steps::default(), Step::of(&pod("p", "1")).unwrap());
        steps.set(&first, Copied::All);
        assert_eq!(steps.since_end(&first), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(steps.since_end(&first), Duration::from_secs(9));

        let again = Step::of(&pod("q", "2")).unwrap();
        steps.observe(&pod("q", "2"));
        assert_eq!((steps.take(&again), steps.take(&first)), (Copied::Outdated, Copied::All));
        assert_eq!(steps.since_end(&again), Duration::ZERO);
        assert_eq!(steps.report("2"), key("q"));
        steps.retain(&["1".to_owned()].into());
        assert_eq!(steps.report("2"), None);
    }

    #[test]
    fn ended_pods_are_not_remembered() {
        let (steps, mut ended) = (Steps::default(), pod("p", "1"));
        ended.status = Some(serde_json::from_value(json!({ "phase": "Succeeded" })).unwrap());
        steps.observe(&ended);
        assert!(steps.lock().is_empty());
    }
}
