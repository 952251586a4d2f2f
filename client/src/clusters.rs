//! A set of clusters that changes while the program runs, and the health of its members.
//!
//! ```no_run
//! use futures::StreamExt;
//! use mcsa_client::clusters::{Change, Clusters};
//! use mcsa_client::config;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let clusters = Clusters::builder().local("c1", config::in_cluster()?).mounted().start()?;
//! let mut changes = clusters.watch();
//! while let Some(change) = changes.next().await {
//!     match change {
//!         Change::Joined(member) => println!("{} joined, {:?}", member.name(), member.health()),
//!         Change::Updated(member) => println!("{} was updated", member.name()),
//!         Change::Left(member) => println!("{} left", member.name()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # A cluster may have several members
//!
//! Each import and each context is a member of its own. Two imports of different service accounts, or two contexts of
//! different users, are two members even if they lead to the same cluster, and a controller reconciles the objects of that
//! cluster twice. To avoid that, use one import or context per cluster, or compare UIDs:
//!
//! ```no_run
//! # async fn example(clusters: mcsa_client::clusters::Clusters) -> kube::Result<()> {
//! use std::collections::BTreeMap;
//!
//! let mut by_uid = BTreeMap::new();
//! for member in clusters.members() {
//!     let uid = member.cluster_uid().await?.to_owned();
//!     by_uid.entry(uid).or_insert(member);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Members of one address, proxy and certificate authority share their health: a response to one of them is one of their
//! cluster, and at rest the cluster is asked with the credential of one member at a time. A credential that is refused,
//! or can't be had, concerns only its own member. A member that is a [`Client`] shares nothing.
//!
//! A member of a watched import never switches to another cluster: it leaves, and another one joins. The UIDs of mounted
//! imports and contexts are not known in advance: if their address changes, the set reports [`Change::Updated`], and the
//! UID is requested again.

mod builder;
mod changes;
mod endpoints;
mod group;
mod health_check;
mod imports;
mod member;
mod member_tasks;
mod polled;
mod set;
mod turns;
mod upgrade;
pub(crate) mod watch_backoff;

use std::sync::Arc;

use futures::Stream;
use kube::Client;
use tokio::sync::watch;
use tracing::warn;

pub use self::builder::ClustersBuilder;
pub use self::changes::Change;
pub use self::imports::Imports;
pub use self::member::Member;
use self::member::NewMember;
use self::set::{Set, Tasks};
pub use self::upgrade::UpgradedStream;
use crate::ServiceAccountImport;
use crate::live::ClusterAccess;
pub use crate::live::health::Health;

/// A set of clusters that join, change and leave. Clones are cheap, and share the set. When the last clone is dropped,
/// all members leave, and health checks and watches stop.
#[derive(Clone, Debug)]
pub struct Clusters {
    set: Set,
    /// The number of watches of imports whose first list is pending.
    pending: watch::Receiver<usize>,
    _tasks: Arc<Tasks>,
}

impl Clusters {
    /// Builds a set from imports, contexts, and single clusters.
    pub fn builder() -> ClustersBuilder {
        ClustersBuilder::default()
    }

    /// A set of these clusters, by name. If two have the same name, the first wins, and the others are logged:
    /// [`ClustersBuilder::member`] makes that an error.
    ///
    /// Call it within a tokio runtime.
    pub fn fixed<N: Into<Arc<str>>>(clients: impl IntoIterator<Item = (N, Client)>) -> Self {
        let (set, tasks) = Set::new();
        let clusters = Self { set, pending: watch::Sender::new(0).subscribe(), _tasks: tasks };
        for (name, client) in clients {
            let name = name.into();
            if clusters.join(name.clone(), client).is_none() {
                warn!(cluster = &*name, "two clusters have this name; the second is not a member");
            }
        }
        clusters
    }

    /// Adds a member. `None`: the name is taken.
    ///
    /// Call it within a tokio runtime.
    pub fn join(&self, name: impl Into<Arc<str>>, access: impl Into<ClusterAccess>) -> Option<Member> {
        self.set.join(NewMember::new(name, access))
    }

    /// Like [`Clusters::join`], but the member has this [import](Member::import), so that [`Clusters::imported`] finds
    /// it. The import need not exist in an API server.
    ///
    /// Call it within a tokio runtime.
    pub fn join_as_import(
        &self,
        name: impl Into<Arc<str>>,
        access: impl Into<ClusterAccess>,
        import: ServiceAccountImport,
    ) -> Option<Member> {
        self.set.join(NewMember { import: Some(Arc::new(import)), ..NewMember::new(name, access) })
    }

    /// Removes a member, and returns it. `None`: there is none of this name.
    ///
    /// Use it only for members that [`Clusters::join`], [`Clusters::join_as_import`] or [`Clusters::fixed`] added.
    pub fn leave(&self, name: &str) -> Option<Member> {
        self.get(name).filter(|member| self.set.leave(member))
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<Member> {
        self.set.get(name)
    }

    /// All members, by name.
    pub fn members(&self) -> Vec<Member> {
        self.set.members.borrow().values().cloned().collect()
    }

    /// The members whose [import](Member::import) is in this namespace and names this source (`spec.clusterName`), by
    /// name. There are several if the namespace imports several service accounts of the source.
    pub fn imported(&self, namespace: &str, cluster_name: &str) -> Vec<Member> {
        let is_imported = |member: &&Member| {
            member.import().is_some_and(|import| {
                import.metadata.namespace.as_deref() == Some(namespace)
                    && import.spec.cluster_name == cluster_name
            })
        };
        self.set.members.borrow().values().filter(is_imported).cloned().collect()
    }

    /// The member that [`ClustersBuilder::local`] added, if there is one.
    pub fn local(&self) -> Option<Member> {
        self.set.members.borrow().values().find(|member| member.is_local()).cloned()
    }

    /// The changes of the set. The stream begins with [`Change::Joined`] for each current member, and ends when the
    /// last clone of the set is dropped. A slow consumer observes the net change, not every step.
    ///
    /// The stream doesn't keep the set alive. A task that reads it should not own a clone of the set: it would keep the
    /// set alive, and wait for an end that never comes.
    pub fn watch(&self) -> impl Stream<Item = Change> + Send + Unpin + use<> {
        changes::changes(self.set.members.subscribe())
    }

    /// Runs a task for each member, for as long as it is a member: the task is dropped when the member leaves, when the
    /// returned future is dropped, or when the last clone of the set is dropped. The returned future ends with the set.
    ///
    /// - A task that returns is done. It starts again only if the cluster leaves and joins again.
    /// - A task that panics starts again, after a pause that grows up to a minute.
    /// - A task goes on when the address of its member changes. The member's client uses the new one.
    /// - As for [`Clusters::watch`], neither `task` nor its futures should own a clone of the set.
    ///
    /// ```no_run
    /// # async fn example(clusters: mcsa_client::clusters::Clusters) {
    /// use mcsa_client::clusters::Member;
    ///
    /// let tasks = clusters.for_each_member(|member: Member| async move {
    ///     loop {
    ///         member.wait_until_available().await;
    ///         if let Ok(version) = member.client().apiserver_version().await {
    ///             println!("{} runs {}", member.name(), version.git_version);
    ///         }
    ///         tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    ///     }
    /// });
    /// tasks.await;
    /// # }
    /// ```
    pub fn for_each_member<F, Fut>(&self, task: F) -> impl Future<Output = ()> + Send + use<F, Fut>
    where
        F: Fn(Member) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        member_tasks::run(self.watch(), task)
    }

    /// Waits until every cluster known at start has joined or failed to. While imports can't be listed, it keeps
    /// waiting: wrap it in `tokio::time::timeout` to limit that.
    pub async fn wait_until_synced(&self) {
        let mut pending = self.pending.clone();
        // An error means that the watches have ended, so no further cluster will join.
        let _ = pending.wait_for(|pending| *pending == 0).await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;
    use crate::ServiceAccountImportSpec;

    fn client(namespace: &str) -> Client {
        let respond = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
        Client::new(tower::service_fn(respond), namespace)
    }

    #[tokio::test]
    async fn first_cluster_of_a_name_is_the_member_until_it_leaves() {
        let clusters = Clusters::fixed([("c1", client("first")), ("c1", client("second"))]);
        let first = clusters.get("c1").unwrap();
        assert_eq!(first.default_namespace(), "first");
        assert_eq!(clusters.join("c1", client("third")), None);
        assert_eq!(clusters.leave("c1"), Some(first));
        assert_eq!(clusters.leave("c1"), None);
        let third = clusters.join("c1", client("third"));
        assert!(third.is_some() && clusters.get("c1") == third);
    }

    #[tokio::test]
    async fn member_that_joined_as_an_import_is_imported_until_it_leaves() {
        let spec = ServiceAccountImportSpec { cluster_name: "c2".into(), ..Default::default() };
        let mut import = ServiceAccountImport::new("launch", spec);
        import.metadata.namespace = Some("team-a".into());
        let clusters = Clusters::fixed([("c2", client("other"))]);
        assert_eq!(clusters.join_as_import("c2", client("taken"), import.clone()), None);
        let member = clusters.join_as_import("team-a/c2", client("team-a"), import.clone()).unwrap();
        assert_eq!(member.import().as_deref(), Some(&import));
        assert_eq!(clusters.imported("team-a", "c2"), std::slice::from_ref(&member));
        assert!(clusters.imported("team-b", "c2").is_empty());
        assert_eq!(clusters.leave("team-a/c2"), Some(member));
        assert!(clusters.imported("team-a", "c2").is_empty());
    }
}
