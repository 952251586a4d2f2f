//! The client crate, used like users' programs do.

mod clusters;
mod configs;
mod examples;
mod identity;
