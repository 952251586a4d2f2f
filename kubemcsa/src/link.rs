//! Links a target to a source: plan → connect → check_names → permit → authorize → bind → declare → reuse, or mint →
//! verify → publish. Each step takes the result of the step before, and only the step itself constructs its result. A
//! step whose work is already done changes nothing.

pub(crate) mod authorize;
pub(crate) mod bind;
pub(crate) mod change_grants;
pub(crate) mod check_names;
pub(crate) mod connect;
pub(crate) mod declare;
pub(crate) mod desired;
pub(crate) mod existing;
pub(crate) mod flags;
pub(crate) mod grants;
pub(crate) mod home_pods;
pub(crate) mod known_targets;
pub(crate) mod launcher;
pub(crate) mod mint;
pub(crate) mod permit;
pub(crate) mod plan;
pub(crate) mod policies;
pub(crate) mod progress;
pub(crate) mod publish;
pub(crate) mod renew;
pub(crate) mod reuse;
pub(crate) mod revocation;
pub(crate) mod route;
pub(crate) mod shared;
pub(crate) mod trust;
pub(crate) mod verify;

/// How often to try a write that conflicts with an importer or another administrator.
pub(crate) const TRIES: usize = 5;
