//! The TLS listener and its graceful shutdown.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use hyper_util::rt::TokioTimer;
use tokio::task::JoinHandle;

use crate::connections::LimitedAcceptor;

/// Idle time after which HTTP/2 connections are pinged and HTTP/1 connections closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for requests in flight during shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server.
pub(crate) struct Listener {
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
}

impl Listener {
    /// Serves `router`. Each connection gets the certificate that `tls` contains when it is accepted.
    pub(crate) fn start(listener: TcpListener, tls: RustlsConfig, router: Router) -> io::Result<Self> {
        let handle = Handle::new();
        let server = from_tcp_rustls(listener, tls)?.handle(handle.clone());
        // TCP_NODELAY: don't delay a response until the previous one is acknowledged.
        let mut server = server.map(|acceptor| LimitedAcceptor::new(acceptor.acceptor(NoDelayAcceptor)));
        // API servers keep connections for months; connections of dead clients must not accumulate.
        let http = server.http_builder();
        http.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
        http.http2().timer(TokioTimer::new()).keep_alive_interval(IDLE_TIMEOUT);
        let task = tokio::spawn(server.serve(router.into_make_service()));
        Ok(Self { handle, task })
    }

    /// Accepts no more connections, and waits for requests in flight. Closes each connection after them, so that
    /// clients reconnect to another replica.
    pub(crate) async fn shut_down(self) -> anyhow::Result<()> {
        self.handle.graceful_shutdown(Some(DRAIN_TIMEOUT));
        Ok(self.task.await??)
    }
}
