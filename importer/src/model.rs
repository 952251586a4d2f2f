//! Plain data and pure functions that the steps share.

pub mod account;
pub mod check_result;
pub mod failure;
pub mod import;
pub mod key;
pub mod revocation;
pub mod scope;
pub mod spec;
pub mod status;
pub mod unreadable;
