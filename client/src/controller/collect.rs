//! Deletes objects whose owners in other clusters are gone.
//!
//! An object is a suspect when its owner was deleted, or is absent after the owner's cluster was listed. Each suspect
//! is checked with live requests, and deleted only on proof ([`proof`]). Suspects without proof are kept, and checked
//! again after minutes and when the owner's cluster is listed again.

mod child_handler;
mod collector;
mod index;
mod orphan;
mod proof;

pub(super) use self::child_handler::ChildHandler;
pub(super) use self::collector::{Collector, OwnedKind};
