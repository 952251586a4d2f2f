//! One cluster of a [`Clusters`](super::Clusters).

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{OnceCell, watch};

use crate::live::health::Health;
use crate::live::{Access, Pulse, Wire};

/// One cluster of a [`Clusters`](super::Clusters). Cheap to clone: all clones are the same member.
#[derive(Clone)]
pub struct Member {
    inner: Arc<Inner>,
    client: Client,
    /// Grows each time the address, certificate authority or default namespace changes.
    revision: u64,
    /// The cluster's UID, once it was requested from the present address.
    asked: Arc<OnceCell<String>>,
}

struct Inner {
    name: Arc<str>,
    access: Access,
    is_local: bool,
    /// The UID that the importer verified.
    uid: Option<String>,
    pulse: Pulse,
}

/// A cluster that is about to join.
pub(super) struct Joining {
    pub(super) name: Arc<str>,
    pub(super) access: Access,
    pub(super) is_local: bool,
    pub(super) uid: Option<String>,
}

impl Member {
    pub(super) fn new(joining: Joining) -> Self {
        let Joining { name, access, is_local, uid } = joining;
        let pulse = Pulse::default();
        let client = Wire::of_member(access.clone(), pulse.clone()).into_client();
        let inner = Arc::new(Inner { name, access, is_local, uid, pulse });
        Self { inner, client, revision: 0, asked: Arc::default() }
    }

    /// The member's name in the set.
    pub fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// A client that works for as long as the member is in the set, even if its address, certificate authority or token
    /// changes. All clients of a member share their connections.
    ///
    /// While the cluster is considered unresponsive, requests fail at once. 429, 503 and 504 are returned, not retried,
    /// unless the member was built from a [`Client`] with a retry policy of its own.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The default namespace: that of the service account.
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Whether the program itself runs in this cluster.
    pub fn is_local(&self) -> bool {
        self.inner.is_local
    }

    /// The cluster's health.
    pub fn health(&self) -> Health {
        self.inner.pulse.health()
    }

    /// Watches the cluster's health.
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.inner.pulse.watch()
    }

    /// Waits while the cluster is considered unreachable.
    pub async fn present(&self) {
        let mut health = self.watch_health();
        // The sender lives as long as this member.
        let _ = health.wait_for(|health| !health.is_away()).await;
    }

    /// The UID of the namespace `kube-system`, which identifies the cluster. For a watched import, it is the UID that the
    /// importer verified. Otherwise it is requested once, and again after the address changed.
    ///
    /// # Errors
    /// If the request fails, for example because the service account may not `get` that namespace.
    pub async fn cluster_uid(&self) -> kube::Result<&str> {
        match &self.inner.uid {
            Some(uid) => Ok(uid),
            None => self.asked.get_or_try_init(|| ask_for_uid(self.client())).await.map(String::as_str),
        }
    }

    /// Like [`Self::cluster_uid`], but always requests it. The UID that the importer verified is used only if the cluster
    /// accepts the credential and forbids the request (403).
    ///
    /// # Errors
    /// As for [`Self::cluster_uid`].
    pub async fn present_cluster_uid(&self) -> kube::Result<String> {
        match (ask_for_uid(self.client()).await, &self.inner.uid) {
            (Err(kube::Error::Api(status)), Some(uid)) if status.code == 403 => Ok(uid.clone()),
            (asked, _) => asked,
        }
    }

    /// Whether both are the same member. A cluster that left and joined again is another member.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether both are the same member at the same address.
    pub(super) fn leads_as(&self, other: &Self) -> bool {
        self.is_same(other) && self.revision == other.revision
    }

    /// The same member after its address changed.
    pub(super) fn revised(&self) -> Self {
        let inner = self.inner.clone();
        let client = Wire::of_member(inner.access.clone(), inner.pulse.clone()).into_client();
        Self { inner, client, revision: self.revision + 1, asked: Arc::default() }
    }

    pub(super) fn access(&self) -> &Access {
        &self.inner.access
    }

    pub(super) fn pulse(&self) -> &Pulse {
        &self.inner.pulse
    }
}

async fn ask_for_uid(client: Client) -> kube::Result<String> {
    let namespace = Api::<Namespace>::all(client).get_metadata("kube-system").await?;
    namespace.uid().ok_or_else(|| kube::Error::Service("its namespace kube-system has no UID".into()))
}

impl fmt::Debug for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, access, .. } = &*self.inner;
        let health = self.health();
        formatter
            .debug_struct("Member")
            .field("name", name)
            .field("access", access)
            .field("health", &health)
            .finish()
    }
}
