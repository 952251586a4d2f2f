//! Plain data and pure functions that every step uses.

pub mod failure;
pub mod import;
pub mod key;
pub mod scope;
pub mod status;
