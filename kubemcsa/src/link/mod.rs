//! One link, from both sides. Its steps are those of `kubemcsa bootstrap`, in this order: refuse →
//! connect → claim → permitted → source (grants) → target → keep, or mint → check → publish. Each
//! takes what the one before it gives, and does nothing that is done already.

pub mod check;
pub mod claim;
pub mod connect;
pub mod flags;
pub mod grants;
pub mod identities;
pub mod interim;
pub mod keep;
pub mod mint;
pub mod permitted;
pub mod publish;
pub mod refuse;
pub mod renew;
pub mod revoked;
pub mod source;
pub mod target;
pub mod voice;

/// How often somebody else (an importer at work, another administrator) may be faster in writing an object.
pub const TRIES: usize = 5;
