//! The TLS listener: accepts connections, limits what each holds, and shuts down gracefully.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mcsa_runtime::accept::accept;
use mcsa_runtime::slots::{Slot, SlotUsage, Slots};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::Service;
use tracing::debug;

use crate::activity::Activity;
use crate::body::ConnectionShare;

/// Maximum number of concurrent connections. Each API server keeps one for each [`MAX_STREAMS`] concurrent reviews, of
/// which it has 200 at most by default.
const MAX_CONNECTIONS: usize = 64;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time in which the head of an HTTP/1 request must arrive; idle HTTP/1 connections are closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Concurrent requests of a connection. Each takes about 10 KiB before its body arrives.
const MAX_STREAMS: u32 = 32;

/// Bytes of a connection's requests that HTTP/2 buffers until the server reads them. The default is 1 MiB.
const WINDOW: u32 = 64 * 1024;

/// Largest head of a request, in bytes. An API server's has less than 1 KiB.
const MAX_HEAD: u32 = 8 * 1024;

/// Longest wait for requests in flight before a connection is closed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server.
pub(crate) struct Listener {
    /// Stops the server when dropped.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Serves `router`. Each connection gets the certificate that `tls` contains when it is accepted.
    pub(crate) fn start(
        listener: TcpListener,
        tls: watch::Receiver<Arc<ServerConfig>>,
        router: Router,
    ) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let connections = Connections { slots: Slots::new(MAX_CONNECTIONS), tls, router };
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(Arc::new(connections).accept_all(listener, stopped));
        Ok(Self { stop, task })
    }

    /// Accepts no more connections, and waits for requests in flight. Closes each connection after them, so that
    /// clients reconnect to another replica.
    pub(crate) async fn shut_down(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.task.await.context("the server failed")
    }
}

/// What connections share.
struct Connections {
    slots: Slots,
    tls: watch::Receiver<Arc<ServerConfig>>,
    router: Router,
}

impl Connections {
    /// Accepts connections until the sender of `stopped` is dropped.
    async fn accept_all(
        self: Arc<Self>,
        listener: tokio::net::TcpListener,
        mut stopped: watch::Receiver<()>,
    ) {
        let mut connections = JoinSet::new();
        loop {
            let (stream, address) = tokio::select! {
                accepted = accept(&listener, "reviews") => accepted,
                _ = stopped.changed() => break,
            };
            while connections.try_join_next().is_some() {}
            let slot = self.slots.take(address);
            connections.spawn(self.clone().connection(stream, slot, stopped.clone()));
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, mut slot: Slot, stopped: watch::Receiver<()>) {
        let usage = slot.usage();
        tokio::select! {
            result = self.serve(stream, usage, stopped) => {
                if let Err(error) = result {
                    debug!(%error, "connection failed");
                }
            }
            () = slot.evicted() => debug!("closed a connection, because there are too many"),
        }
    }

    /// Serves a connection until its client closes it, it is idle for too long, or the server stops.
    async fn serve(
        &self,
        stream: TcpStream,
        usage: SlotUsage,
        mut stopped: watch::Receiver<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Don't delay a response until the previous one is acknowledged.
        stream.set_nodelay(true)?;
        let config = self.tls.borrow().clone();
        let stream = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await??;
        let (activity, share) = (Activity::new(usage), ConnectionShare::default());
        let service = service_fn(|request: http::Request<Incoming>| {
            let (open, share, mut router) = (activity.start_request(), share.clone(), self.router.clone());
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(share);
                let Ok::<_, Infallible>(response) = router.call(request).await;
                if response.status().is_success() {
                    open.prove();
                }
                Ok::<_, Infallible>(response.map(|body| open.hold(body)))
            }
        });
        let http = http();
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            result = connection.as_mut() => return result,
            () = activity.expired() => {}
            _ = stopped.changed() => {}
        }
        connection.as_mut().graceful_shutdown();
        timeout(DRAIN_TIMEOUT, connection).await?
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(WINDOW as usize);
    http.http2()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_header_list_size(MAX_HEAD)
        .max_send_buf_size(WINDOW as usize);
    http
}
