//! Maintains the Node object of a source.
//!
//! [`maintain()`] runs one loop for each node: it observes the Node, and the source's members with their health and their
//! quotas (`sources`), and writes what differs from the desired state. What is desired is computed by pure functions:
//!
//! | file | question |
//! | --- | --- |
//! | `health` | is the source reachable? |
//! | `capacity` | how much may pods request? |
//! | `desired` | labels, annotations, taints, cordon |
//! | `status` | conditions, addresses, capacity |
//!
//! `write` has the requests, and `state` is what others need to know of a node. [`remove()`] cordons a node, and deletes
//! it when it is empty.

mod capacity;
mod desired;
#[cfg(test)]
mod fake_source;
#[cfg(test)]
mod fake_target;
mod foreign_pods;
mod health;
mod lease;
mod maintain;
mod member_watch;
mod quotas;
mod remove;
mod reporter;
mod requests;
mod resources;
mod sources;
mod state;
mod status;
mod write;

use std::net::SocketAddr;

pub(crate) use self::health::{Reachability, reachability};
pub(crate) use self::{maintain::maintain, remove::remove, state::NodeState, write::NodeError};

/// A source as a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualNode {
    /// The source's name, which is also the node's.
    pub(crate) name: String,
    /// The UID of the target, in which the node is.
    pub(crate) cluster_uid: String,
    /// Where the API server reaches the launcher, as it reaches a kubelet.
    pub(crate) endpoint: SocketAddr,
    /// Operating system and architecture of the source's nodes.
    pub(crate) platform: Platform,
}

/// What a pod must have been built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) arch: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self { os: "linux".into(), arch: "amd64".into() }
    }
}
