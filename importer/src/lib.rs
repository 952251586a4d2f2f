//! The ServiceAccountImport controller.
//!
//! Three watches fill a cache and a queue; for each import whose time has come, one reconciliation
//! runs these steps, each a file with a type of its own:
//!
//! | step | question |
//! | --- | --- |
//! | [`resolve`] | which link, and is the Secret ours? |
//! | [`decide`] | is a token due, or when will it be? |
//! | [`mint`] | a token from the source |
//! | [`publish`] | into the Secret, in one write |
//! | [`report`] | status and event |
//!
//! [`decide`] and the refresh rule are pure functions; the others are as thin as I/O can be.

pub mod args;
pub mod cache;
pub mod clock;
pub mod controller;
pub mod decide;
pub mod failure;
pub mod history;
pub mod mint;
pub mod publish;
pub mod queue;
pub mod reconcile;
pub mod report;
pub mod resolve;
pub mod source;
pub mod target;
pub mod watch;

use std::time::Duration;

use anyhow::Context;
use kube::Client;

use crate::args::Args;
use crate::clock::Clock;

/// Runs the importer until a signal ends it.
///
/// # Errors
/// When the target's config can't be loaded, or a watch ends, which none should.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = mcsa_runtime::signals::shutdown()?;
    let mut config = args.cluster.config().await?;
    tracing::info!(target_server = %config.cluster_url, version = env!("CARGO_PKG_VERSION"), "starting");
    // A failed call is the queue's to repeat, with what is known by then.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    let client = Client::try_from(config).context("client for the target")?;
    let signal = async move {
        let signal = shutdown.await;
        tracing::info!(signal, "stopping");
    };
    controller::run(client, Clock::system(), signal).await
}
