//! What the endpoint asks about home pods and nodes.

use futures::future::BoxFuture;
use hyper::body::Bytes;

use crate::remote_pod::RemotePod;

/// Where a home pod runs.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    /// In a source.
    Found(RemotePod),
    /// Nowhere yet: on which virtual node it is, and why it has no remote pod.
    NotStarted {
        /// The name of the virtual node.
        node: String,
        /// For people.
        reason: String,
    },
    /// It does not exist, or is on no virtual node.
    NotFound,
}

impl Lookup {
    /// The virtual node that the caller needs a right on. Empty, which stands for all nodes, if there is none.
    pub(super) fn node(&self) -> &str {
        match self {
            Self::Found(remote) => &remote.node,
            Self::NotStarted { node, .. } => node,
            Self::NotFound => "",
        }
    }
}

/// Looks up a home pod by namespace and name.
pub(super) type LookupFn = dyn Fn(&str, &str) -> Lookup + Send + Sync;

/// The usage of a virtual node and its pods, in Prometheus' text format. `None`: there is no such node.
pub(super) type UsageFn = dyn Fn(&str) -> Option<BoxFuture<'static, Bytes>> + Send + Sync;
