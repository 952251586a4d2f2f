//! Configs that reload while they are in use.
//!
//! A [`kube::Config`] never changes. A [`LiveConfig`] knows its source. When the token, the certificate authority or
//! the address changes there, its clients use the new one, without a restart and without a failed request.

mod config;
mod connect;
mod current;
mod digest;
mod error_message;
pub(crate) mod health;
mod numbered;
mod origin;
mod plugin;
mod plugins;
mod response_body;
mod transport;

#[cfg(test)]
mod tests;

pub use self::config::LiveConfig;
#[doc(hidden)]
pub use self::connect::{client_builder, numbered_client_builder};
pub(crate) use self::digest::Endpoint;
pub(crate) use self::error_message::error_message;
pub(crate) use self::health::HealthState;
#[doc(hidden)]
pub use self::numbered::ConnectionNumber;
pub(crate) use self::origin::Origin;
pub use self::plugin::{PluginError, PluginProblem};
pub use self::transport::ClusterAccess;
pub(crate) use self::transport::{Credential, Transport};
