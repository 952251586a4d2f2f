//! The client crate, used as a user's program uses it.

mod clusters;
mod configs;
mod examples;
mod identity;
mod programs;
