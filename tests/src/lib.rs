//! Real Kubernetes for tests. A [`Cluster`] is an etcd, an API server and a controller manager on loopback ports. It
//! is ready in seconds, and is removed when the test ends, even if the test is killed.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use mcsa_tests::{Cluster, eventually};
//!
//! let cluster = Cluster::start("c1").await?;
//! cluster.kubectl(["create", "namespace", "demo"]).await?;
//! eventually("the default service account exists", async || {
//!     cluster.kubectl(["-n", "demo", "get", "serviceaccount", "default"]).await
//! })
//! .await;
//! # Ok(())
//! # }
//! ```
//!
//! | item | use |
//! | --- | --- |
//! | [`eventually`] | waits for a condition, and reports what it waited for |
//! | [`program()`] | builds a binary of this workspace |
//! | [`Process`] | runs a program that never outlives the test |
//! | [`Proxy`] | simulates network failures |
//! | [`Daemons`] | runs importer and webhook as processes |
//! | [`Importer`] | runs the importer in the test's process, with a clock that the test advances |
//! | [`linked_clusters`] | starts two clusters with a link |
//! | [`LinkedTarget`] | takes a linked target that one test hands to the next |
//! | [`shared_source`] | a source that tests use at the same time |
//! | [`Imports`] | creates and observes the imports and Secrets of a namespace |
//! | [`promtool()`] | checks rules and a [`Scrape`] with Prometheus' own tool |
//! | [`helm()`] | installs the chart |
//! | [`Argo`] | a workflow controller |
//! | [`MetricsServer`] | serves the metrics API of a cluster |
//! | [`Node`] | a cluster that runs pods |
//! | [`Installation`] | a node that runs our images, linked to a source |
//! | [`Launched`] | a target whose pods run on a node of its source |

// If test support fails, the test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod argo;
mod audit;
mod authority;
mod binaries;
mod cache;
mod cluster;
mod components;
mod daemons;
mod eventually;
mod executable;
mod fixtures;
mod folder;
mod go_tools;
mod helm;
mod importer;
mod installation;
mod kubeconfig;
mod kubectl;
mod launched;
mod linked_target;
mod links;
mod merged_kubeconfig;
mod metrics_server;
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
mod shared_clusters;
mod shared_source;
mod start;
mod token_leaks;
mod unfinished_bodies;

pub use argo::{Argo, argo, install_argo_kind};
pub use audit::{AuditEvent, AuditObject, AuditStatus, AuditUser};
pub use authority::NextAuthority;
pub use binaries::{Binaries, binaries, kubernetes_version};
pub use cluster::{Cluster, KeptCluster};
pub use daemons::{Daemons, set_webhook_url};
pub use eventually::{eventually, eventually_within, try_eventually, unless_interrupted};
pub use executable::write_executable;
pub use fixtures::{
    Imports, KubemcsaRun, apply_policy, bootstrap, create_pod_lister, install_and_link, kubemcsa,
    kubemcsa_ok, kubemcsa_runs, mount, pod_lister_import, wait_for_default_service_account,
};
pub use helm::helm;
pub use importer::Importer;
pub use installation::{Installation, ListerLog, images, restricted_pod};
pub use kubeconfig::{client, kubeconfig_with_server};
pub use kubectl::kubectl;
pub use launched::{Launched, Launcher};
pub use linked_target::LinkedTarget;
pub use links::{apply_link, create_manual_link, linked_clusters, tokens_minted_in};
pub use merged_kubeconfig::write_merged_kubeconfig;
pub use metrics_server::MetricsServer;
pub use node::{Node, NodeBuilder, READY_TIMEOUT, TOOLS_IMAGE};
pub use pool::Pool;
pub use prepare::prepare;
pub use process::Process;
pub use programs::{example, program};
pub use prometheus::{Scrape, promtool};
pub use proxy::{Fault, Proxy};
pub use shared_clusters::shared_clusters;
pub use shared_source::{shared_source, unique};
pub use start::ClusterBuilder;
pub use token_leaks::{ensure_no_tokens_in, stored_tokens};
pub use unfinished_bodies::send_unfinished_bodies;

/// Installs the TLS provider that kube's clients need. Can be called repeatedly, from any thread.
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // An error means that the test has installed a provider.
    ONCE.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
}

/// Prints a line to the real stderr. The test harness captures `eprintln!`, and the first build takes minutes: users
/// should see why they wait.
fn print_uncaptured(line: impl std::fmt::Display) {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "[mcsa-tests] {line}"));
}
