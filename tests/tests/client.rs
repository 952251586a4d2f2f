//! The client crate, as other people's programs use it.

mod clusters;
mod configs;
mod examples;
mod identity;
