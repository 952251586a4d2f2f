//! The automount webhook: a pod whose annotation names ServiceAccountImports gets their Secrets
//! mounted, in every container.
//!
//! A review's way through the files: [`server`] → [`review`] ([`admission`]: what is asked;
//! [`annotation`]: which imports are named; [`imports`]: are they there; [`patch`]: what is added).
//! Beside it, [`keep`] holds the serving certificate ([`certificate`], [`store`]) and the webhook
//! configuration ([`register`]) right; [`ready`] says what is missing.

pub mod admission;
pub mod annotation;
pub mod args;
pub mod certificate;
pub mod imports;
pub mod keep;
pub mod patch;
pub mod ready;
pub mod register;
pub mod review;
pub mod server;
pub mod store;
mod text;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use kube::Client;
use mcsa_runtime::signals;
use tracing::info;

pub use args::Args;
use imports::Imports;
use keep::Keeper;
use ready::Readiness;
use server::Server;
use store::Store;

/// Field manager of what the webhook writes.
const FIELD_MANAGER: &str = "multicluster-service-account-webhook";

/// How long requests in flight may take to finish when the process is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start, or can't go on.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = signals::shutdown()?;
    let client = Client::try_from(args.cluster.config().await?)?;

    // Served before the shared certificate is had, so that probes can tell what is missing.
    let store = Store::new(client.clone(), args.names());
    let tls = RustlsConfig::from_config(store.unshared()?.server_config()?);
    let readiness = Arc::new(Readiness::default());
    let imports = Arc::new(Imports::new(client.clone()));
    let router = server::router(Server { imports: imports.clone(), readiness: readiness.clone() });

    let listener = mcsa_runtime::probes::listen(args.listen)
        .with_context(|| format!("can't listen at {}", args.listen))?;
    let address = listener.local_addr()?;
    let handle = Handle::new();
    let server = from_tcp_rustls(listener, tls.clone())?.handle(handle.clone());
    let server = tokio::spawn(server.serve(router.into_make_service()));
    info!(version = env!("CARGO_PKG_VERSION"), %address, "listening");

    let keeper = Keeper { client, store, url: args.url, tls, readiness: readiness.clone() };
    let keeper = tokio::spawn(keeper.run());
    let watch = tokio::spawn(async move { imports.watch(&readiness).await });
    // Both run for ever: the one that ends first is the reason to end.
    tokio::select! {
        signal = shutdown => info!(signal, "stopping"),
        ended = keeper => match ended?? {},
        ended = watch => match ended?? {},
    }
    handle.graceful_shutdown(Some(DRAIN));
    server.await??;
    info!("stopped");
    Ok(())
}
