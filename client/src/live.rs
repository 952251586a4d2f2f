//! Configs that reload while they are in use.
//!
//! A [`kube::Config`] never changes. A [`LiveConfig`] remembers where it came from. When the token, the certificate
//! authority or the address changes there, its clients use the new one, without a restart and without a failed
//! request.

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
pub(crate) use self::health::Pulse;
pub(crate) use self::origin::Origin;
pub(crate) use self::said::said;
pub use self::wire::Access;
pub(crate) use self::wire::Wire;
