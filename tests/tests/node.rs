//! Tests on a real node: importer, webhook and consumers are pods, a kubelet mounts and updates Secrets, a Service leads
//! to the webhook, and a second cluster is the source.
//!
//! They need Linux and root. Otherwise, each test prints that it is skipped.

mod pods;
mod power;
mod refresh;
mod restarts;
