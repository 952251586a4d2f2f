//! Nothing that belongs to an object outlives it, in any cluster: where that is asked for.
//!
//! The finalizer is on an object before it is reconciled for the first time. Once the object is being deleted, all
//! that belongs to it is deleted, and when a live list finds none of it in any member, the finalizer goes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::api::{ApiResource, ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::collect::{Owned, answered, api, as_seen};
use super::error::Problem;
use super::key::Key;
use super::owner::{Owner, selector_of};
use crate::clusters::Health;
use crate::clusters::{Clusters, Member};

/// When to look again for what is on its way out; most of it tells by itself.
const RECHECK: Duration = Duration::from_secs(5);

/// When to look again at an object that changed under our hands, should nothing tell of it.
const CHANGED: Duration = Duration::from_secs(1);

const PAGE: u32 = 500;

/// What has to be done about the finalizer of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is there: the object is reconciled.
    Reconcile,
    /// It has to be added first.
    Add,
    /// The object is being deleted, and waits for us.
    CleanUp,
    /// The object is being deleted, and is not ours to hold.
    Leave,
}

/// What has been done. In each case, an event tells when to go on, or this time.
pub(super) type Done = Option<Duration>;

/// What stands in the way, and where.
pub(super) type Blocked = (Arc<str>, Problem);

pub(super) struct Finalizer {
    pub(super) name: Arc<str>,
    pub(super) clusters: Clusters,
    pub(super) owned: Vec<Owned>,
    pub(super) resource: ApiResource,
}

pub(super) fn step(meta: &ObjectMeta, finalizer: &str) -> Step {
    let has_it = meta.finalizers.iter().flatten().any(|name| name == finalizer);
    match (meta.deletion_timestamp.is_some(), has_it) {
        (false, true) => Step::Reconcile,
        (false, false) => Step::Add,
        (true, true) => Step::CleanUp,
        (true, false) => Step::Leave,
    }
}

impl Finalizer {
    pub(super) async fn add(&self, member: &Member, key: &Key, meta: &ObjectMeta) -> Result<Done, Blocked> {
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        finalizers.push(self.name.to_string());
        self.write(member, key, meta, finalizers).await
    }

    /// Deletes all that belongs to an object, and lets the object go when there is none of it any more.
    pub(super) async fn clean_up<K: Resource>(
        &self,
        member: &Member,
        key: &Key,
        object: &K,
    ) -> Result<Done, Blocked> {
        let meta = object.meta();
        let Some(uid) = &meta.uid else { return Ok(None) };
        let members = self.clusters.members();
        let everywhere =
            members.iter().flat_map(|member| self.owned.iter().map(move |owned| (member, owned)));
        let left = everywhere.map(|(member, owned)| async move {
            let left = self.delete(member, owned, uid).await;
            left.map_err(|problem| (member.name().clone(), problem))
        });
        // One that is away keeps none of the others waiting.
        let left: Vec<_> = join_all(left).await.into_iter().collect::<Result<_, _>>()?;
        if left.into_iter().any(|left| left > 0) {
            return Ok(Some(RECHECK));
        }
        let others = meta.finalizers.iter().flatten().filter(|name| **name != *self.name);
        self.write(member, key, meta, others.cloned().collect()).await
    }

    /// On condition of the version that was seen: nobody else's finalizer is lost.
    async fn write(
        &self,
        member: &Member,
        key: &Key,
        meta: &ObjectMeta,
        finalizers: Vec<String>,
    ) -> Result<Done, Blocked> {
        let patch = json!({"metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "finalizers": finalizers,
        }});
        let api = api(member, &self.resource, key.namespace.as_deref());
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        match answered(api.patch(&key.name, &params, &patch)).await {
            Ok(_) => Ok(None),
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 409 => Ok(Some(CHANGED)),
            Err(problem) => Err((member.name().clone(), problem)),
        }
    }

    /// Gives how many of a kind there still are in a cluster.
    async fn delete(&self, member: &Member, owned: &Owned, uid: &str) -> Result<usize, Problem> {
        if let Health::Away { problem, .. } = member.health() {
            return Err(Problem::Away(problem));
        }
        let api = api(member, &owned.resource, owned.namespace.as_deref());
        let mut params = ListParams::default().labels(&selector_of(uid)).limit(PAGE);
        let mut left = 0;
        loop {
            let list = match answered(api.list(&params)).await {
                Ok(list) => list,
                // The kind is not served there, so there are none. Should it be served later, and have some
                // nevertheless, they are orphans like any others.
                Err(Problem::Api(kube::Error::Api(status))) if status.code == 404 => return Ok(0),
                Err(problem) => return Err(problem),
            };
            for child in &list.items {
                let owner = Owner::of(&child.metadata);
                if !owner.is_some_and(|owner| owner.uid == uid && owner.is_a(&self.resource)) {
                    continue;
                }
                left += 1;
                if child.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                let api = self::api(member, &owned.resource, child.metadata.namespace.as_deref());
                match answered(api.delete(&child.name_any(), &as_seen(child))).await {
                    Ok(_) => {}
                    Err(Problem::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
                    Err(problem) => return Err(problem),
                }
            }
            params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(false, &["other"], Step::Add)]
    #[case(false, &["other", "ours"], Step::Reconcile)]
    #[case(true, &["ours"], Step::CleanUp)]
    #[case(true, &["other"], Step::Leave)]
    fn an_object_waits_for_its_finalizer(
        #[case] is_deleted: bool,
        #[case] finalizers: &[&str],
        #[case] expected: Step,
    ) {
        let meta: ObjectMeta = serde_json::from_value(json!({
            "finalizers": finalizers,
            "deletionTimestamp": is_deleted.then_some("2026-01-01T00:00:00Z"),
        }))
        .unwrap();
        assert_eq!(step(&meta, "ours"), expected);
    }
}
