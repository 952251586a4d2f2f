//! The reports in a source that no pod owns.
//!
//! A report that was copied belongs to its remote pod, and garbage collection in the source deletes it with the pod. The
//! others are left over when their pods are deleted while no launcher runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ObjectMeta;
use tokio::time::Instant;

/// How long a report must have had no pod. The stores of pods may be late by less.
const AGE: Duration = Duration::from_secs(60);

/// The reports in a source that no pod owns.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<HashMap<Id, Unowned>>);

/// Name of the launch import's member, and of the report, which is the UID of the home pod.
pub(super) type Id = (Arc<str>, String);

#[derive(Clone, Debug)]
pub(super) struct Unowned {
    /// UID of the report.
    pub(super) uid: Option<String>,
    since: Instant,
}

impl Leftovers {
    /// Adds a report that no pod owns, and removes others.
    pub(super) fn observe(&self, member: &Arc<str>, report: &ObjectMeta) {
        let name = report.name.clone().unwrap_or_default();
        if report.owner_references.iter().flatten().any(|owner| owner.kind == "Pod") {
            return self.forget(member, &name);
        }
        let new = || Unowned { uid: report.uid.clone(), since: Instant::now() };
        let mut reports = self.lock();
        let unowned = reports.entry((member.clone(), name)).or_insert_with(new);
        if unowned.uid != report.uid {
            *unowned = new();
        }
    }

    pub(super) fn forget(&self, member: &Arc<str>, report: &str) {
        self.lock().remove(&(member.clone(), report.to_owned()));
    }

    /// Those that have had no owner for long, and whose pods are not among these.
    pub(super) fn without_pods(&self, pods: &HashSet<String>) -> Vec<(Id, Unowned)> {
        let reports = self.lock();
        let left = reports
            .iter()
            .filter(|((_, pod), unowned)| unowned.since.elapsed() >= AGE && !pods.contains(pod));
        left.map(|(id, unowned)| (id.clone(), unowned.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Unowned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(name: &str, uid: &str, owner: &str) -> ObjectMeta {
        let owner = json!({ "apiVersion": "v1", "kind": owner, "name": "a", "uid": "a" });
        serde_json::from_value(json!({ "name": name, "uid": uid, "ownerReferences": [owner] })).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn reports_without_pods_are_left_over_after_a_while() {
        let (leftovers, member) = (Leftovers::default(), Arc::from("team-a.launch-c2"));
        for name in ["gone", "at-home", "again", "deleted", "copied"] {
            leftovers.observe(&member, &report(name, name, "Workflow"));
        }
        let left = || {
            let left = leftovers.without_pods(&["at-home".to_owned()].into());
            let mut names: Vec<_> = left.into_iter().map(|((_, name), _)| name).collect();
            names.sort();
            names
        };
        assert!(left().is_empty());
        leftovers.forget(&member, "deleted");
        leftovers.observe(&member, &report("copied", "copied", "Pod"));
        tokio::time::advance(AGE).await;
        leftovers.observe(&member, &report("gone", "gone", "Workflow"));
        leftovers.observe(&member, &report("again", "other", "Workflow"));
        assert_eq!(left(), ["gone"]);
        tokio::time::advance(AGE).await;
        assert_eq!(left(), ["again", "gone"]);
    }
}
