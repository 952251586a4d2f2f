//! Configs that stay right.
mod health;
pub use health::Health;
pub(crate) use health::Pulse;
