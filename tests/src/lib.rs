//! Real Kubernetes for tests: a [`Cluster`] is an etcd, an API server and a controller manager on
//! loopback ports, ready in seconds and gone with the test, however the test ends.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use mcsa_tests::{Cluster, eventually};
//!
//! let cluster = Cluster::start("c1").await?;
//! cluster.kubectl(["create", "namespace", "demo"]).await?;
//! eventually("the default service account", async || {
//!     cluster.kubectl(["-n", "demo", "get", "serviceaccount", "default"]).await
//! })
//! .await;
//! # Ok(())
//! # }
//! ```
//!
//! Beside it: [`Process`] (a program that never outlives the test), [`Proxy`] (a network that fails
//! when told to), [`eventually`] (waiting that says what it waited for), [`program()`] (this
//! workspace's own binaries), [`Servants`] (importer and webhook as processes), [`Importer`] (in the
//! test's own process, with a clock to turn), [`linked`] (two clusters and a link), [`Imports`] (the
//! imports of a namespace, and their Secrets), [`promtool()`] (Prometheus' judgement of a [`Scrape`]),
//! [`helm()`] (who installs the chart), [`Node`] (a cluster whose pods run), [`Installed`] (a node on
//! which all of ours does).

// Test support: where it cannot go on, the test has failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod authority;
mod binaries;
mod cache;
mod cluster;
mod components;
mod eventually;
mod folder;
mod go_tools;
mod helm;
mod importer;
mod installed;
mod kubeconfig;
mod kubectl;
mod linked_target;
mod links;
mod merged_kubeconfig;
mod node;
mod pki;
mod pool;
mod ports;
mod prepare;
mod probe;
mod process;
mod programs;
mod prometheus;
mod proxy;
mod ready;
mod scene;
mod secrecy;
mod servants;
mod shared;
mod shared_source;
mod start;

pub use audit::{AuditEvent, AuditObject, AuditStatus, AuditUser};
pub use authority::NextAuthority;
pub use binaries::{Binaries, binaries, kubernetes_version};
pub use cluster::{Cluster, Kept};
pub use eventually::{eventually, eventually_within, try_eventually, unless_interrupted};
pub use helm::helm;
pub use importer::Importer;
pub use installed::{Installed, Lister, images, pod};
pub use kubeconfig::{client, kubeconfig_at};
pub use kubectl::kubectl;
pub use linked_target::LinkedTarget;
pub use links::{link_by_hand, link_with, linked, linked_to, tokens_minted, tokens_minted_in};
pub use merged_kubeconfig::merged_kubeconfig;
pub use node::{Node, NodeBuilder, READY, TOOLS};
pub use pool::Pool;
pub use prepare::prepare;
pub use process::Process;
pub use programs::{example, program};
pub use prometheus::{Scrape, promtool};
pub use proxy::{Fault, Proxy};
pub use scene::{
    Imports, Run, bootstrap, install_and_link, kubemcsa, kubemcsa_ok, kubemcsa_runs, mount, pod_lister,
    pod_lister_import, takes_pods,
};
pub use secrecy::{tokens, unsaid};
pub use servants::Servants;
pub use shared::pair;
pub use shared_source::{shared_source, unique};
pub use start::ClusterBuilder;

/// Installs the TLS provider that kube's clients need; any number of times, from any thread.
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // An error means that the test installed a provider itself, which is as good.
    ONCE.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
}

/// One line on the real stderr: the test harness captures what `eprintln!` writes, and somebody who
/// waits five minutes for a first build should see why.
fn note(line: impl std::fmt::Display) {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "[mcsa-tests] {line}"));
}
