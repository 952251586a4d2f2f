//! One link, from both sides: plan → connect → claim → permit → authorize → bind → declare → reuse, or mint → verify →
//! publish. Each step takes the result of the one before, and only the step itself constructs its result. A step that
//! finds its work done changes nothing.

pub mod authorize;
pub mod bind;
pub mod claim;
pub mod connect;
pub mod declare;
pub mod desired;
pub mod existing;
pub mod flags;
pub mod grants;
pub mod identities;
pub mod mint;
pub mod permit;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod renew;
pub mod reuse;
pub mod revoked;
pub mod verify;

/// Attempts to write an object that an importer or another administrator changes at the same time.
pub const TRIES: usize = 5;
