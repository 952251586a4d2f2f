//! Serves what the API server asks of a kubelet (logs, exec, attach and port-forward), and usage to metrics-server.
//!
//! A request passes through these files: `connections` (TLS, HTTP) → `handler` → `authentication` →
//! `authorization` → `remote` (is the remote pod still the one?) → `logs` or `tunnel`. `route` is a pure function: what
//! a path asks for, and the same request to the source. `tls` follows the serving certificate (`certificate`) and the
//! authorities of client certificates (`client_authorities`). `reviewer` limits what callers cause in the target.

mod args;
mod authentication;
mod authorization;
mod body;
mod cache;
mod certificate;
mod client_authorities;
mod connections;
mod counters;
mod files;
#[cfg(test)]
mod fixtures;
mod handler;
mod logs;
mod lookup;
mod query;
mod refusal;
mod remote;
mod reviewer;
mod route;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod user;
mod write_timeout;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use hyper::body::Bytes;
use kube::Client;
use mcsa_runtime::probes::listen;
use mcsa_runtime::slots::Slots;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tracing::info;

pub use self::args::EndpointArgs;
use self::certificate::{CertificateError, CertificateProvider};
use self::client_authorities::ClientAuthorities;
use self::connections::{Connections, Maximums};
pub(crate) use self::counters::Counters;
use self::handler::Handler;
pub(crate) use self::lookup::Lookup;
use self::tls::Tls;
use self::tunnel::TunnelSlots;

/// The endpoint can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("can't listen at --endpoint-address {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the certificate of the endpoint: {0}")]
    Certificate(#[from] CertificateError),
    #[error("the TLS config of the endpoint: {0}")]
    Tls(#[from] rustls::server::VerifierBuilderError),
}

/// A bound address. Callers wait until [`Endpoint::serve`] runs.
pub(crate) struct Endpoint {
    listener: TcpListener,
    local_address: SocketAddr,
    node_address: IpAddr,
    provider: CertificateProvider,
    client_ca: Option<PathBuf>,
    counters: Counters,
    maximums: Maximums,
}

impl Endpoint {
    /// Listens at `--endpoint-address`. Call it within a tokio runtime.
    ///
    /// # Errors
    /// If the address can't be bound, or the certificate can't be read.
    pub(crate) fn bind(args: &EndpointArgs) -> Result<Self, EndpointError> {
        let provider = CertificateProvider::new(args)?;
        let address = args.endpoint_address;
        let bound = listen(address).and_then(TcpListener::from_std).and_then(|listener| {
            let local_address = listener.local_addr()?;
            Ok((listener, local_address))
        });
        let (listener, local_address) = bound.map_err(|source| EndpointError::Listen { address, source })?;
        let (node_address, client_ca) = (args.node_address, args.endpoint_client_ca.clone());
        info!(address = %local_address, %node_address, "serving logs, exec, attach and port-forward");
        let (counters, maximums) = (Counters::default(), Maximums::default());
        Ok(Self { listener, local_address, node_address, provider, client_ca, counters, maximums })
    }

    /// The address of the listener, with the port for the nodes' `daemonEndpoints`.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The address of the nodes.
    pub(crate) fn node_address(&self) -> IpAddr {
        self.node_address
    }

    /// Counts of requests.
    pub(crate) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Serves forever. When dropped, closes all connections. `client` is that of the target, which authenticates and
    /// authorizes callers. `lookup` finds a home pod by namespace and name, and does not wait. `usage` returns the
    /// usage of a virtual node.
    ///
    /// # Errors
    /// If the TLS config is unusable.
    pub(crate) async fn serve(
        self,
        client: Client,
        lookup: impl Fn(&str, &str) -> Lookup + Send + Sync + 'static,
        usage: impl Fn(&str) -> Option<BoxFuture<'static, Bytes>> + Send + Sync + 'static,
    ) -> Result<Infallible, EndpointError> {
        let Self { listener, provider, client_ca, counters, maximums, .. } = self;
        let certificate_refused = Arc::new(Notify::new());
        let authorities =
            ClientAuthorities::read_from(client.clone(), client_ca, certificate_refused.clone()).await;
        let tls = Tls::new(provider, authorities)?;
        let tunnels = TunnelSlots::new(maximums.tunnels);
        let (strangers, known) = (Slots::new(maximums.strangers), Slots::new(maximums.known));
        let handler = Handler::new(&client, Arc::new(lookup), Arc::new(usage), counters.clone(), tunnels);
        let tls_config = tls.watch();
        let connections =
            Connections { handler, counters, strangers, known, tls: tls_config, certificate_refused };
        tokio::select! {
            never = connections.serve(listener) => Ok(never),
            never = tls.maintain() => Ok(never),
        }
    }
}
