//! The live set of clusters.

mod changes;
mod member;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::Stream;
use kube::Client;
use tokio::sync::watch;

pub use self::changes::Change;
use self::member::Inner;
pub use self::member::Member;

/// The members, by name.
type Members = Arc<BTreeMap<Arc<str>, Member>>;

/// A set of clusters that join, change and leave. Cheap to clone: all clones are the same set.
#[derive(Clone, Debug)]
pub struct Clusters {
    members: watch::Sender<Members>,
}

impl Clusters {
    /// A set of these clusters, by name, which never changes by itself.
    pub fn fixed<N: Into<Arc<str>>>(clients: impl IntoIterator<Item = (N, Client)>) -> Self {
        let set = Self { members: watch::Sender::new(Members::default()) };
        for (name, client) in clients {
            set.join(name.into(), client);
        }
        set
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<Member> {
        self.members.borrow().get(name).cloned()
    }

    /// All members, by name.
    pub fn members(&self) -> Vec<Member> {
        self.members.borrow().values().cloned().collect()
    }

    /// What changes in the set, from all of its present members on. Who is slow to read on hears of what
    /// has become of it, and not of each step.
    pub fn watch(&self) -> impl Stream<Item = Change> + Send + Unpin + 'static {
        changes::changes(self.members.subscribe())
    }

    /// Adds a member, in the place of one of the same name.
    pub(crate) fn join(&self, name: Arc<str>, client: Client) {
        let inner = Inner {
            name: name.clone(),
            client,
            is_local: false,
            uid: Default::default(),
            pulse: Default::default(),
        };
        let member = Member { inner: Arc::new(inner), revision: 0 };
        self.members.send_modify(|members| drop(Arc::make_mut(members).insert(name, member)));
    }

    /// Removes a member.
    #[allow(dead_code)]
    pub(crate) fn leave(&self, name: &str) {
        self.members.send_modify(|members| drop(Arc::make_mut(members).remove(name)));
    }
}
