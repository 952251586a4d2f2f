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
    /// A request for a unit test of a `reconcile` function. A controller makes its own.
    ///
    /// The member may be one of [`Clusters::fixed`](crate::clusters::Clusters::fixed), with a client of a mock service:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use k8s_openapi::api::core::v1::ConfigMap;
    /// # use kube::runtime::controller::Action;
    /// # use kube::{Client, ResourceExt};
    /// # use mcsa_client::clusters::Clusters;
    /// # use mcsa_client::controller::Request;
    /// # async fn reconcile(request: Request<ConfigMap>, _: Arc<()>) -> kube::Result<Action> {
    /// #     assert_eq!(request.object.name_any(), "a");
    /// #     Ok(Action::await_change())
    /// # }
    /// # async fn example(client: Client, object: ConfigMap) -> Result<(), Box<dyn std::error::Error>> {
    /// let clusters = Clusters::fixed([("c1", client)]);
    /// let member = clusters.get("c1").ok_or("c1 is not a member")?;
    /// let action = reconcile(Request::new(member, object), Arc::new(())).await?;
    /// assert_eq!(action, Action::await_change());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(member: Member, object: K) -> Self
    where
        K::DynamicType: Default,
    {
        Self::new_with(member, object, Default::default())
    }

    /// [`Request::new`] for a kind known only at runtime.
    pub fn new_with(member: Member, object: K, dyntype: K::DynamicType) -> Self {
        let key = Key::from_object(member.name().clone(), &object);
        let kind = Arc::new(Kind { resource: ApiResource::erase::<K>(&dyntype), dyntype });
        Self { member, object: Arc::new(object), key, kind, attempt: 0, backoff: Backoff::DEFAULT }
    }

    /// The same request after this number of consecutive failures, for a unit test.
    pub fn with_attempt(self, attempt: u32) -> Self {
        Self { attempt, ..self }
    }

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

#[cfg(test)]
mod tests {
    use http::Method;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::super::fake_server::{FakeServer, identity_is};
    use super::*;
    use crate::clusters::Clusters;

    #[tokio::test]
    async fn a_request_can_be_made_for_a_test() {
        let server = FakeServer::with(&[]);
        server.respond_with(Method::GET, "/api/v1/namespaces/kube-system", identity_is("identity"));
        let clusters = Clusters::fixed([("c1", server.client())]);
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("default".into());
        object.metadata.name = Some("a".into());
        object.metadata.uid = Some("u".into());
        let request = Request::new(clusters.get("c1").unwrap(), object).with_attempt(2);
        assert_eq!((request.key().to_string().as_str(), request.attempt()), ("c1/default/a", 2));
        request.api().list(&Default::default()).await.unwrap();
        server.requested("GET /api/v1/namespaces/default/configmaps").await;
        let owner = request.owner().await.unwrap();
        assert_eq!((owner.cluster_uid.as_str(), owner.uid.as_str()), ("identity", "u"));
    }
}
