//! The TLS listener: how callers are served, and how serving ends.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use hyper_util::rt::TokioTimer;
use tokio::task::JoinHandle;

use crate::connections::Limited;

/// A caller who is silent for so long is asked whether he is still there, or sent away.
const SILENCE: Duration = Duration::from_secs(30);

/// How long requests in flight may take to finish when the process is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// A server that runs.
pub(crate) struct Listener {
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
}

impl Listener {
    /// Serves `router` at `listener`, with the certificate that is in `tls` when a caller comes.
    ///
    /// # Errors
    /// When the listener is of no use.
    pub(crate) fn start(listener: TcpListener, tls: RustlsConfig, router: Router) -> io::Result<Self> {
        let handle = Handle::new();
        let server = from_tcp_rustls(listener, tls)?.handle(handle.clone());
        // An answer is not to wait for the caller's word that it has the one before.
        let mut server = server.map(|acceptor| Limited::new(acceptor.acceptor(NoDelayAcceptor)));
        // API servers keep one connection for months; those that are gone must not pile up.
        let http = server.http_builder();
        http.http1().timer(TokioTimer::new()).header_read_timeout(SILENCE);
        http.http2().timer(TokioTimer::new()).keep_alive_interval(SILENCE);
        let task = tokio::spawn(server.serve(router.into_make_service()));
        Ok(Self { handle, task })
    }

    /// Takes no more connections, has what is in flight finish, and tells callers to go elsewhere.
    ///
    /// # Errors
    /// When the server had ended before by itself, which it never does.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.handle.graceful_shutdown(Some(DRAIN));
        Ok(self.task.await??)
    }
}
