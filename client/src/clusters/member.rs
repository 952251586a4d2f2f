//! One cluster of a [`Clusters`](super::Clusters).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{OnceCell, watch};

use crate::ServiceAccountImport;
use crate::live::health::Health;
use crate::live::{ClusterAccess, HealthState, Transport};

/// One cluster of a [`Clusters`](super::Clusters). Clones are cheap.
///
/// Members are compared by identity, so a member can be the key of a map: clones are equal, also after the address
/// changed. A cluster that left and joined again is another member.
#[derive(Clone)]
pub struct Member {
    inner: Arc<Inner>,
    client: Client,
    /// Increases each time the address, certificate authority or default namespace changes.
    revision: u64,
    /// The cluster's UID, if it was requested from the current address.
    requested_uid: Arc<OnceCell<String>>,
}

struct Inner {
    name: Arc<str>,
    access: ClusterAccess,
    is_local: bool,
    /// The cluster's UID, if the importer verified it.
    verified_uid: Option<String>,
    import: watch::Sender<Option<Arc<ServiceAccountImport>>>,
    health: HealthState,
    has_left: watch::Sender<bool>,
}

/// A cluster to add to the set.
pub(super) struct NewMember {
    pub(super) name: Arc<str>,
    pub(super) access: ClusterAccess,
    pub(super) is_local: bool,
    pub(super) verified_uid: Option<String>,
    pub(super) import: Option<Arc<ServiceAccountImport>>,
}

impl NewMember {
    pub(super) fn new(name: impl Into<Arc<str>>, access: impl Into<ClusterAccess>) -> Self {
        let (name, access) = (name.into(), access.into());
        Self { name, access, is_local: false, verified_uid: None, import: None }
    }
}

impl Member {
    pub(super) fn new(new: NewMember) -> Self {
        let NewMember { name, access, is_local, verified_uid, import } = new;
        let health = HealthState::default();
        let client = Transport::for_member(access.clone(), health.clone()).into_client();
        let (import, has_left) = (watch::Sender::new(import), watch::Sender::new(false));
        let inner = Arc::new(Inner { name, access, is_local, verified_uid, import, health, has_left });
        Self { inner, client, revision: 0, requested_uid: Arc::default() }
    }

    /// The member's name in the set.
    pub fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// A client that keeps working when the address, certificate authority or token changes. All clients of a member
    /// share their connections.
    ///
    /// While the cluster is considered unresponsive, requests fail at once, and response bodies that are being read
    /// (the stream of a log or a watch) end with an error. 429, 503 and 504 are returned, not retried, unless the
    /// member was built from a [`Client`] with a retry policy of its own.
    ///
    /// When the member has left, the client still works, but nothing checks the cluster's health any more: requests to
    /// a cluster that does not respond wait.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The default namespace: that of the service account.
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Whether the program runs in this cluster.
    pub fn is_local(&self) -> bool {
        self.inner.is_local
    }

    /// The import that the member comes from, if [`ClustersBuilder::imports`](super::ClustersBuilder::imports) watches
    /// it, or that it [joined as](super::Clusters::join_as_import): its namespace, name and labels, and in its spec the
    /// cluster and the service account. `None` for mounted imports and other members.
    ///
    /// If it is watched, it is the latest version (without managed fields), also in older clones. A new version is no
    /// [`Change`](super::Change).
    pub fn import(&self) -> Option<Arc<ServiceAccountImport>> {
        self.inner.import.borrow().clone()
    }

    /// The cluster's health.
    pub fn health(&self) -> Health {
        self.inner.health.health()
    }

    /// Watches the cluster's health.
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.inner.health.watch()
    }

    /// Waits while the cluster is [unavailable](Health::Unavailable).
    pub async fn wait_until_available(&self) {
        let mut health = self.watch_health();
        // The sender lives as long as this member.
        let _ = health.wait_for(|health| !health.is_unavailable()).await;
    }

    /// Waits until the member has left the set, or the set has ended.
    pub async fn left(&self) {
        let mut has_left = self.inner.has_left.subscribe();
        // The sender lives as long as this member.
        let _ = has_left.wait_for(|has_left| *has_left).await;
    }

    /// The UID of the namespace `kube-system`, which identifies the cluster. For a watched import, it is the UID that
    /// the importer verified. Otherwise it is requested once, and again after the address changed.
    ///
    /// # Errors
    /// If the request fails, for example because the service account may not `get` that namespace.
    pub async fn cluster_uid(&self) -> kube::Result<&str> {
        match &self.inner.verified_uid {
            Some(uid) => Ok(uid),
            None => {
                self.requested_uid.get_or_try_init(|| request_uid(self.client())).await.map(String::as_str)
            }
        }
    }

    /// Like [`Self::cluster_uid`], but always requests it. The UID that the importer verified is used only if the
    /// cluster accepts the credential and forbids the request (403).
    ///
    /// # Errors
    /// As for [`Self::cluster_uid`].
    pub async fn fetch_cluster_uid(&self) -> kube::Result<String> {
        match (request_uid(self.client()).await, &self.inner.verified_uid) {
            (Err(kube::Error::Api(status)), Some(uid)) if status.code == 403 => Ok(uid.clone()),
            (requested, _) => requested,
        }
    }

    /// Whether both are the same member, without a change of its address in between.
    pub(super) fn is_same_revision(&self, other: &Self) -> bool {
        self == other && self.revision == other.revision
    }

    /// The same member after a change of its address.
    pub(super) fn next_revision(&self) -> Self {
        let inner = self.inner.clone();
        let client = Transport::for_member(inner.access.clone(), inner.health.clone()).into_client();
        Self { inner, client, revision: self.revision + 1, requested_uid: Arc::default() }
    }

    pub(super) fn set_import(&self, import: Arc<ServiceAccountImport>) {
        self.inner.import.send_replace(Some(import));
    }

    pub(super) fn set_left(&self) {
        self.inner.has_left.send_replace(true);
    }

    pub(super) fn access(&self) -> &ClusterAccess {
        &self.inner.access
    }

    pub(super) fn health_state(&self) -> &HealthState {
        &self.inner.health
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Member {}

impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.inner).hash(state);
    }
}

async fn request_uid(client: Client) -> kube::Result<String> {
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
