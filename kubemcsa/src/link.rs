//! Links a target to a source: plan → connect → check_names → permit → authorize → bind → declare → reuse, or mint →
//! verify → publish. Each step takes the result of the step before, and only the step itself constructs its result. A
//! step whose work is already done changes nothing.

pub mod authorize;
pub mod bind;
pub mod check_names;
pub mod connect;
pub mod declare;
pub mod desired;
pub mod existing;
pub mod flags;
pub mod grants;
pub mod known_targets;
pub mod mint;
pub mod permit;
pub mod plan;
pub mod progress;
pub mod publish;
pub mod renew;
pub mod reuse;
pub mod revocation;
pub mod verify;

/// Attempts to write an object that an importer or another administrator changes at the same time.
pub const TRIES: usize = 5;
