//! The argument of `reconcile`.

use std::fmt;
use std::sync::Arc;

use kube::api::ApiResource;
use kube::runtime::controller::Action;
use kube::{Api, Resource};

use super::backoff::Backoff;
use super::key::Key;
use super::owner::Owner;
use super::scope::Scoped;
use crate::clusters::Member;

#[derive(Debug)]
pub(super) struct Kind<D> {
    pub(super) dyntype: D,
    pub(super) resource: ApiResource,
}

/// One object to reconcile, and its cluster.
pub struct Request<K: Resource> {
    /// The object's cluster.
    pub member: Member,
    /// The object, as last observed.
    pub object: Arc<K>,
    pub(super) key: Key,
    pub(super) kind: Arc<Kind<K::DynamicType>>,
    pub(super) attempt: u32,
    pub(super) backoff: Backoff,
}

impl<K: Resource> Request<K> {
    /// The object's cluster, namespace and name.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The number of consecutive failures to reconcile this object so far.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Requeues the object after a delay that doubles with each consecutive failure, with jitter.
    pub fn backoff(&self) -> Action {
        Action::requeue(self.backoff.after(self.attempt))
    }

    /// The API of the object's kind in its cluster and namespace.
    pub fn api(&self) -> Api<K>
    where
        K::Scope: Scoped,
    {
        K::Scope::api(self.member.client(), self.key.namespace.as_deref(), &self.kind.dyntype)
    }

    /// The object as an owner of objects in any cluster.
    ///
    /// # Errors
    /// If the cluster's UID cannot be read.
    pub async fn owner(&self) -> kube::Result<Owner> {
        let uid = self.member.cluster_uid().await?;
        Owner::new(self.member.name(), uid, self.object.as_ref(), &self.kind.dyntype)
            .ok_or_else(|| kube::Error::Service(format!("{} has no UID", self.key).into()))
    }
}

impl<K: Resource> Clone for Request<K> {
    fn clone(&self) -> Self {
        let Self { member, object, key, kind, attempt, backoff } = self;
        Self {
            member: member.clone(),
            object: object.clone(),
            key: key.clone(),
            kind: kind.clone(),
            attempt: *attempt,
            backoff: *backoff,
        }
    }
}

impl<K: Resource> fmt::Debug for Request<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, attempt, .. } = self;
        formatter.debug_struct("Request").field("key", key).field("attempt", attempt).finish_non_exhaustive()
    }
}
