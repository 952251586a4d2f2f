//! One link, from both sides. Its steps are those of `kubemcsa bootstrap`, in this order: refuse →
//! connect → claim → permitted → source (grants) → target → keep, or mint → check → publish. Each
//! takes what the one before it gives, and does nothing that is done already.

pub mod authorize;
pub mod claim;
pub mod connect;
pub mod declare;
pub mod existing;
pub mod flags;
pub mod grants;
pub mod identities;
pub mod interim;
pub mod mint;
pub mod permit;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod renew;
pub mod reuse;
pub mod revoked;
pub mod verify;

/// How often somebody else (an importer at work, another administrator) may be faster in writing an object.
pub const TRIES: usize = 5;
