//! The automount webhook: a pod whose annotation names ServiceAccountImports gets their Secrets
//! mounted, in every container.
//!
//! A review's way through the files: [`listener`] (`connections`: who is connected) → [`server`] ([`body`]: is there room) → [`review`]
//! ([`admission`]: what is asked; [`pod`]: about which pod; [`annotation`]: which imports does it name;
//! [`imports`]: are they there, and [`watch_activity`]: how sure is that; [`patch`]: what is added). Beside it,
//! [`certificates`] holds the serving certificate and the webhook configuration right; [`ready`] says what is
//! missing, and [`metrics`] how it goes.

mod admission;
mod annotation;
mod args;
mod body;
mod certificates;
mod connections;
mod imports;
mod json;
mod listener;
mod message;
mod metrics;
pub mod patch;
pub mod pod;
mod ready;
mod review;
mod server;
mod watch_activity;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use mcsa_runtime::probes::{self, Probes};
use mcsa_runtime::signals;
use prometheus_client::registry::Registry;
use tokio::time::sleep;
use tracing::info;

pub use args::Args;
use certificates::Keeper;
use imports::Imports;
use listener::Listener;
use metrics::{Metrics, Snapshot};
use ready::Readiness;
use server::Server;
use watch_activity::Heard;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start, or can't go on.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let config = args.cluster.config().await?;
    let heard = Heard::default();
    let watcher = heard.client(config.clone())?;
    let client = Client::try_from(config)?;
    let imports = Arc::new(Imports::new(client.clone()));

    let readiness = Arc::new(Readiness::default());
    let keeper = Keeper::new(&args, client, readiness.clone())?;

    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let snapshot = {
        let (imports, readiness, expiry) = (imports.clone(), readiness.clone(), keeper.expiry());
        move || Snapshot {
            parts: readiness.parts(),
            imports: imports.count(),
            cache_age: heard.age(),
            certificate_expiry: *expiry.borrow(),
        }
    };
    metrics::expose(&mut registry, snapshot);
    let ready = readiness.clone();
    let probes =
        Probes { alive: Box::new(|| Ok(())), ready: Box::new(move || ready.verdict()), metrics: registry };
    let probed = args.probes.listen()?.serve(probes);

    let listener = probes::listen(args.listen).with_context(|| format!("can't listen at {}", args.listen))?;
    let address = listener.local_addr()?;
    let router = server::router(Server::new(imports.clone(), metrics));
    let listener = Listener::start(listener, keeper.tls(), router)?;
    info!(version = env!("CARGO_PKG_VERSION"), %address, "listening");

    let delay = Duration::from_secs(args.shutdown_delay.into());
    let ended = async {
        info!(signal = shutdown.await, "stopping");
        readiness.stop();
        // Whoever has not heard of it yet is still served. A second signal is for who can't wait.
        let hurry = signals::shutdown()?;
        tokio::select! {
            () = sleep(delay) => {}
            signal = hurry => info!(signal, "stopping now"),
        }
        listener.end().await
    };
    // Three run for ever: should one of them end, that is the reason to end.
    tokio::select! {
        ended = ended => ended?,
        failed = keeper.run() => match failed? {},
        failed = imports.watch(watcher, &readiness) => match failed? {},
        never = probed => match never {},
    }
    info!("stopped");
    Ok(())
}
