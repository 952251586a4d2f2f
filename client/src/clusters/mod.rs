//! The live set of clusters: who is in it, how each is doing, and what changes.
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
//!         Change::Changed(member) => println!("{} leads elsewhere", member.name()),
//!         Change::Left(member) => println!("{} left", member.name()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod builder;
mod changes;
mod imports;
mod member;
mod polled;
mod set;
mod tend;

use std::sync::Arc;

use futures::Stream;
use kube::Client;
use tokio::sync::watch;

pub use self::builder::ClustersBuilder;
pub use self::changes::Change;
pub use self::imports::Imports;
use self::member::Joining;
pub use self::member::Member;
use self::set::{Set, Tasks};
use crate::live::Access;
pub use crate::live::health::Health;

/// A set of clusters that join, change and leave. Cheap to clone: all clones are the same set, and when the
/// last is dropped, nothing is asked or read any more.
#[derive(Clone, Debug)]
pub struct Clusters {
    set: Set,
    /// Feeds that have not told yet of all that was there when they began.
    pending: watch::Receiver<usize>,
    _tasks: Arc<Tasks>,
}

impl Clusters {
    /// A set to be fed by imports, contexts, or one by one.
    pub fn builder() -> ClustersBuilder {
        ClustersBuilder::default()
    }

    /// A set of these clusters, by name, of which none joins or leaves by itself. Of two with one name, the first
    /// is in it.
    ///
    /// Like all that starts a set, to be called within a tokio runtime.
    pub fn fixed<N: Into<Arc<str>>>(clients: impl IntoIterator<Item = (N, Client)>) -> Self {
        let (set, tasks) = Set::new();
        let clusters = Self { set, pending: watch::Sender::new(0).subscribe(), _tasks: tasks };
        for (name, client) in clients {
            clusters.join(name, client);
        }
        clusters
    }

    /// Adds a member, for a set that something of your own feeds; whether its name was free.
    ///
    /// To be called within a tokio runtime.
    pub fn join(&self, name: impl Into<Arc<str>>, access: impl Into<Access>) -> bool {
        self.set
            .join(Joining { name: name.into(), access: access.into(), is_local: false, uid: None })
            .is_some()
    }

    /// Removes a member: for those that were added by [`Clusters::join`], or are in a fixed set. Whom a feed has
    /// brought in should be left to it.
    pub fn leave(&self, name: &str) {
        if let Some(member) = self.get(name) {
            self.set.leave(&member);
        }
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<Member> {
        self.set.get(name)
    }

    /// All members, by name.
    pub fn members(&self) -> Vec<Member> {
        self.set.members.borrow().values().cloned().collect()
    }

    /// The member that the program itself runs in, where there is one.
    pub fn local(&self) -> Option<Member> {
        self.set.members.borrow().values().find(|member| member.is_local()).cloned()
    }

    /// What changes in the set, from all of its present members on. Who is slow to read on hears of what
    /// has become of it, and not of each step. It ends with the set.
    pub fn watch(&self) -> impl Stream<Item = Change> + Send + Unpin + 'static {
        changes::changes(self.set.members.subscribe())
    }

    /// Waits until all have joined that were there when the set was started, as far as they can be used: for as
    /// long as imports can't be listed, which is logged. Who has no time for that uses `tokio::time::timeout`.
    pub async fn listed(&self) {
        let mut pending = self.pending.clone();
        // An error means that the feeds are gone, which is when nobody else will join.
        let _ = pending.wait_for(|pending| *pending == 0).await;
    }
}
