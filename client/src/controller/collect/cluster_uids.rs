//! The UIDs of the members' clusters. They find the cluster of an owner after the member was renamed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::clusters::Member;
use crate::controller::backoff::Backoff;
use crate::controller::call::with_deadline;

const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(15 * 60) };

/// The UIDs of members whose objects are reconciled, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct ClusterUids(Mutex<BTreeMap<Arc<str>, String>>);

impl ClusterUids {
    pub(super) fn insert(&self, name: Arc<str>, uid: String) {
        self.known().insert(name, uid);
    }

    pub(super) fn remove(&self, name: &str) {
        self.known().remove(name);
    }

    /// The member whose cluster has this UID. Several members may be the same cluster: `hint` wins. While the UID of
    /// `hint` is not known, it may be the one if it is a member.
    pub(super) fn locate(
        &self,
        hint: &str,
        uid: &str,
        is_member: impl FnOnce(&str) -> bool,
    ) -> Option<Arc<str>> {
        let known = self.known();
        let named = known.get_key_value(hint);
        let mut same = named.into_iter().chain(&*known).filter(|(_, known)| *known == uid);
        if let Some((name, _)) = same.next() {
            return Some(name.clone());
        }
        (named.is_none() && is_member(hint)).then(|| hint.into())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the UID of a member's cluster. Retries until it succeeds.
pub(super) async fn read_uid(member: &Member) -> String {
    let mut failures = 0;
    loop {
        member.wait_until_available().await;
        match with_deadline(member.cluster_uid()).await {
            Ok(uid) => return uid.to_owned(),
            Err(problem) => {
                let cluster = &**member.name();
                tracing::debug!(cluster, %problem, "cannot read the cluster's UID");
            }
        }
        sleep(BACKOFF.after(failures)).await;
        failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::by_name("c1", "uid-1", Some("c1"))]
    #[case::renamed("old", "uid-1", Some("c1"))]
    #[case::the_name_is_another_cluster_now("c1", "uid-2", Some("c2"))]
    #[case::of_the_same_uid("old", "uid-3", Some("c3"))]
    #[case::of_the_same_uid_by_name("c4", "uid-3", Some("c4"))]
    #[case::not_yet_identified("new", "uid-5", Some("new"))]
    #[case::another_is_identified("new", "uid-1", Some("c1"))]
    #[case::no_member("old", "uid-5", None)]
    #[case::the_name_has_another_uid("c1", "uid-5", None)]
    fn an_owners_cluster_is_found_by_uid(
        #[case] hint: &str,
        #[case] uid: &str,
        #[case] expected: Option<&str>,
    ) {
        let uids = ClusterUids::default();
        for (name, uid) in [("c1", "uid-1"), ("c2", "uid-2"), ("c3", "uid-3"), ("c4", "uid-3")] {
            uids.insert(name.into(), uid.into());
        }
        assert_eq!(uids.locate(hint, uid, |name| name == "new").as_deref(), expected);
    }
}
