//! One cluster of a [`Clusters`](super::Clusters).

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{OnceCell, watch};

use crate::live::{Health, Pulse};

/// One cluster of a [`Clusters`](super::Clusters). Cheap to clone: all clones are the same member.
#[derive(Clone)]
pub struct Member {
    pub(super) inner: Arc<Inner>,
    /// Grows each time that it leads elsewhere.
    pub(super) revision: u64,
}

pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) client: Client,
    pub(super) is_local: bool,
    pub(super) uid: OnceCell<String>,
    pub(super) pulse: Pulse,
}

impl Member {
    /// Its name in the set.
    pub fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// A client that works for as long as the member is in the set: addresses, authorities and tokens
    /// may change meanwhile. All clients of a member share their connections.
    pub fn client(&self) -> Client {
        self.inner.client.clone()
    }

    /// The namespace to use where none is named: that of the service account.
    pub fn default_namespace(&self) -> &str {
        self.inner.client.default_namespace()
    }

    /// Whether this is the cluster that the program itself runs in.
    pub fn is_local(&self) -> bool {
        self.inner.is_local
    }

    /// How it is doing.
    pub fn health(&self) -> Health {
        self.inner.pulse.watch().borrow().clone()
    }

    /// How it is doing, and each change of that.
    pub fn watch_health(&self) -> watch::Receiver<Health> {
        self.inner.pulse.watch()
    }

    /// The UID of its namespace `kube-system`, which stands for the cluster's identity. It is asked once.
    ///
    /// # Errors
    /// When the cluster does not say; as when the service account may not `get` that namespace.
    pub async fn cluster_uid(&self) -> kube::Result<&str> {
        let ask = || async {
            let namespace = Api::<Namespace>::all(self.client()).get_metadata("kube-system").await?;
            namespace.uid().ok_or_else(|| kube::Error::Service("kube-system has no UID".into()))
        };
        self.inner.uid.get_or_try_init(ask).await.map(String::as_str)
    }

    /// Whether both are the same joining of the same cluster.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Member")
            .field("name", &self.inner.name)
            .field("health", &self.health())
            .finish()
    }
}
