//! Decides which import has a name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::Key;
use crate::ServiceAccountImport;

/// The imports of each name.
#[derive(Default)]
pub(super) struct Names(BTreeMap<Arc<str>, BTreeSet<Candidate>>);

/// An import that may have a name. The oldest comes first, then the first by namespace and name: the choice is the same
/// after a restart, and nobody can take the name of an existing import.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    created: Option<Timestamp>,
    key: Key,
}

impl Candidate {
    pub(super) fn of(import: &ServiceAccountImport) -> Self {
        let created = import.creation_timestamp().map(|time| time.0);
        Self { created, key: super::key(import) }
    }
}

impl Names {
    pub(super) fn add(&mut self, name: &Arc<str>, candidate: Candidate) {
        self.0.entry(name.clone()).or_default().insert(candidate);
    }

    pub(super) fn remove(&mut self, name: &str, candidate: &Candidate) {
        let Some(candidates) = self.0.get_mut(name) else { return };
        candidates.remove(candidate);
        if candidates.is_empty() {
            self.0.remove(name);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// The import that has the name.
    pub(super) fn winner(&self, name: &str) -> Option<&Key> {
        self.keys(name).next()
    }

    /// The imports that don't get the name, because another one has it.
    pub(super) fn losers(&self, name: &str) -> impl Iterator<Item = &Key> {
        self.keys(name).skip(1)
    }

    fn keys(&self, name: &str) -> impl Iterator<Item = &Key> {
        self.0.get(name).into_iter().flatten().map(|candidate| &candidate.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn candidate(second: i64, namespace: &str, name: &str) -> Candidate {
        let created = Some(Timestamp::from_second(second).unwrap());
        Candidate { created, key: (namespace.into(), name.into()) }
    }

    #[rstest]
    #[case::oldest(&[(2, "a", "a"), (1, "b", "b")], Some("b/b"))]
    #[case::namespace(&[(1, "b", "a"), (1, "a", "b")], Some("a/b"))]
    #[case::name(&[(1, "a", "b"), (1, "a", "a")], Some("a/a"))]
    #[case::none(&[], None)]
    fn oldest_import_has_the_name(#[case] candidates: &[(i64, &str, &str)], #[case] expected: Option<&str>) {
        for order in [candidates.to_vec(), candidates.iter().rev().copied().collect()] {
            let (mut names, name) = (Names::default(), "c2".into());
            for (second, namespace, import) in &order {
                names.add(&name, candidate(*second, namespace, import));
            }
            let winner = names.winner("c2").map(|(namespace, name)| format!("{namespace}/{name}"));
            assert_eq!(winner.as_deref(), expected);
            assert_eq!(names.losers("c2").count(), order.len().saturating_sub(1));
            for (second, namespace, import) in &order {
                names.remove("c2", &candidate(*second, namespace, import));
            }
            assert_eq!(names.all().count(), 0);
        }
    }
}
