//! Configs that stay right: what they are made from is read again while it is in use.
//!
//! A [`kube::Config`] is what it was when it was made. A [`LiveConfig`] remembers where it came from, and its
//! clients work on when the token, the authority or the address there changes: without a restart, and without
//! a failed request.

mod answer;
mod config;
mod current;
mod digest;
pub(crate) mod health;
mod origin;
mod said;
mod wire;

#[cfg(test)]
mod tests;

pub use self::config::LiveConfig;
pub(crate) use self::health::{Pulse, Verdict};
pub(crate) use self::origin::{Origin, with_its_token};
pub(crate) use self::said::said;
pub use self::wire::Access;
pub(crate) use self::wire::Wire;
