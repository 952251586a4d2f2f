//! Tests on a real node: importer, webhook and consumers are pods, a kubelet mounts and updates Secrets, a Service
//! leads to the webhook, and a second cluster is the source.
//!
//! They need Linux and root. Otherwise, each test prints that it is skipped.
//!
//! They are a binary of their own, so that cargo runs them after the other end-to-end tests: probes and calls of the
//! webhook have deadlines of seconds, which a machine that runs many API servers may miss.

// If a helper of tests fails, the test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod pods;
mod power;
mod refresh;
mod restarts;
