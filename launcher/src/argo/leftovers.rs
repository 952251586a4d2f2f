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

/// Maximum number of reports that are remembered for each launch import. Any pod of the remote namespace can create more.
/// Those are observed again when the watch is restarted.
const MAX_REPORTS: usize = 1_000;

/// By the member of the launch import, and by the name of the report.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Mutex<HashMap<Arc<str>, HashMap<String, Unowned>>>);

#[derive(Clone, Debug)]
struct Unowned {
    /// UID of the report.
    uid: Option<String>,
    since: Instant,
}

/// A report whose pods are gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leftover {
    pub(super) member: Arc<str>,
    pub(super) name: String,
    pub(super) uid: Option<String>,
}

impl Leftovers {
    /// Adds a report that no pod owns, and removes others.
    pub(super) fn observe(&self, member: &Arc<str>, report: &ObjectMeta) {
        let name = report.name.clone().unwrap_or_default();
        if report.owner_references.iter().flatten().any(|owner| owner.kind == "Pod") {
            return self.forget(member, &name);
        }
        let mut members = self.lock();
        let reports = members.entry(member.clone()).or_default();
        let is_known = reports.get(&name).is_some_and(|known| known.uid == report.uid);
        if !is_known && (reports.len() < MAX_REPORTS || reports.contains_key(&name)) {
            reports.insert(name, Unowned { uid: report.uid.clone(), since: Instant::now() });
        }
    }

    pub(super) fn forget(&self, member: &Arc<str>, report: &str) {
        let mut members = self.lock();
        if let Some(reports) = members.get_mut(member) {
            reports.remove(report);
            if reports.is_empty() {
                members.remove(member);
            }
        }
    }

    /// The reports that no pod has owned for [`AGE`], and whose home pods are not among `pods`.
    pub(super) fn without_pods(&self, pods: &HashSet<String>) -> Vec<Leftover> {
        let members = self.lock();
        let reports = members.iter().flat_map(|(member, reports)| reports.iter().map(move |it| (member, it)));
        let left = reports.filter(|(_, (pod, report))| report.since.elapsed() >= AGE && !pods.contains(*pod));
        left.map(|(member, (name, report))| Leftover {
            member: member.clone(),
            name: name.clone(),
            uid: report.uid.clone(),
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, HashMap<String, Unowned>>> {
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
            let mut names: Vec<_> = left.into_iter().map(|leftover| leftover.name).collect();
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

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_reports_is_not_remembered() {
        let (leftovers, member, other) =
            (Leftovers::default(), Arc::from("a.launch-c2"), Arc::from("b.launch-c2"));
        for number in 0..2 * MAX_REPORTS {
            let name = number.to_string();
            leftovers.observe(&member, &report(&name, &name, "Workflow"));
        }
        leftovers.observe(&other, &report("other", "other", "Workflow"));
        tokio::time::advance(AGE).await;
        assert_eq!(leftovers.without_pods(&HashSet::new()).len(), MAX_REPORTS + 1);
    }
}
