//! Deletes objects whose owners in other clusters are gone.
//!
//! An object is a suspect when its owner was deleted, or is not in a complete list of the owner's cluster. Each suspect
//! is checked with live requests, and deleted only if they prove that its owner is gone ([`proof`]). Otherwise, it is
//! checked again after some minutes, and when the owner's cluster is listed again.
//!
//! The owner's cluster is found by its UID ([`cluster_uids`]), because members may be renamed.

mod child_handler;
mod cluster_uids;
mod collector;
mod index;
mod orphan;
mod proof;
mod stored_children;

pub(super) use self::child_handler::ChildHandler;
pub(super) use self::collector::{Collector, OwnedKind};
pub(super) use self::stored_children::{StoreChildren, StoredChildren};
