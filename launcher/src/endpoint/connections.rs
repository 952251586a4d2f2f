//! Accepts connections, and limits what a client can hold.

use std::convert::Infallible;
use std::hash::Hash;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mcsa_runtime::accept::accept;
use mcsa_runtime::slots::{Slot, SlotUsage, Slots};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::counters::Counters;
use super::handler::Handler;
use super::tunnel::Tunnel;
use super::user::CertificateUser;
use super::write_timeout::WriteTimeout;

/// A connection of a caller.
type Stream = TlsStream<WriteTimeout<TcpStream>>;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before and between the probes of an idle connection. It ends after nine without an answer.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What a client may hold of a connection.
struct Limits {
    /// Time in which the head of a request must arrive; idle connections are closed after it.
    head_timeout: Duration,
    /// Largest head of a request, in bytes.
    max_head: usize,
}

/// With a client certificate. The head holds the arguments of a command.
const KNOWN: Limits = Limits { head_timeout: Duration::from_secs(30), max_head: 96 * 1024 };

/// Without one: anybody who reaches the port.
const ANONYMOUS: Limits = Limits { head_timeout: Duration::from_secs(10), max_head: 16 * 1024 };

/// Maximum numbers of what callers hold at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maximums {
    /// Connections without a verified client certificate. Every connection is one until its handshake is complete.
    pub(super) strangers: usize,
    /// Connections with one.
    pub(super) known: usize,
    /// Tunnels. Each has two buffers, and the process has a memory limit.
    pub(super) tunnels: usize,
}

impl Default for Maximums {
    fn default() -> Self {
        Self { strangers: 100, known: 1_000, tunnels: 500 }
    }
}

/// What connections share.
pub(super) struct Connections {
    pub(super) handler: Handler,
    pub(super) counters: Counters,
    /// The slots of connections without a verified client certificate.
    pub(super) strangers: Slots,
    /// The slots of connections with one, by the names of their users.
    pub(super) known: Slots<String>,
    /// The TLS config for new connections. When it changes, older connections are closed after the current request, so
    /// that callers authenticate again.
    pub(super) tls: watch::Receiver<Arc<ServerConfig>>,
    /// Notified when a client's certificate is refused.
    pub(super) certificate_refused: Arc<Notify>,
}

impl Connections {
    /// Serves forever. When dropped, closes all connections.
    pub(super) async fn serve(self, listener: TcpListener) -> Infallible {
        let shared = Arc::new(self);
        let mut tasks = JoinSet::new();
        loop {
            let (stream, address) = accept(&listener, "logs, exec, attach and port-forward").await;
            while tasks.try_join_next().is_some() {}
            let slot = shared.strangers.take(address);
            tasks.spawn(shared.clone().connection(stream, slot));
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, mut slot: Slot) {
        let mut tls = self.tls.clone();
        let config = tls.borrow_and_update().clone();
        let result = tokio::select! {
            // First: a complete handshake counts, even if the slot was lost meanwhile.
            biased;
            result = timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, config)) => result,
            () = slot.evicted() => return debug!("handshake ended: too many connections without a certificate"),
        };
        let stream = match result {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                debug!(%error, "TLS handshake failed");
                if is_certificate_error(&error) {
                    self.certificate_refused.notify_one();
                }
                return;
            }
            Err(_) => return,
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.and_then(|certificate| CertificateUser::read(certificate));
        match &certificate {
            Some(known) => {
                drop(slot);
                let slot = self.known.take(known.user.name.clone());
                self.until_evicted(stream, certificate, tls, slot).await;
            }
            None => self.until_evicted(stream, certificate, tls, slot).await,
        }
    }

    async fn until_evicted<C: Clone + Eq + Hash + Send + Sync + 'static>(
        self: &Arc<Self>,
        stream: Stream,
        certificate: Option<CertificateUser>,
        tls: watch::Receiver<Arc<ServerConfig>>,
        mut slot: Slot<C>,
    ) {
        let usage = slot.usage();
        tokio::select! {
            () = self.conversation(stream, certificate, tls, usage) => {}
            () = slot.evicted() => debug!("closed: there are too many connections"),
        }
    }

    /// Serves requests, and then the tunnel that the last one opened.
    async fn conversation<C: Clone + Eq + Hash + Send + Sync + 'static>(
        self: &Arc<Self>,
        stream: Stream,
        certificate: Option<CertificateUser>,
        tls: watch::Receiver<Arc<ServerConfig>>,
        usage: SlotUsage<C>,
    ) {
        if let Some(tunnel) = self.clone().requests(stream, certificate, tls, usage).await {
            let _open = self.counters.open_tunnel();
            if let Err(error) = tunnel.run().await {
                debug!(%error, "tunnel ended");
            }
        }
    }

    /// Serves the requests of a connection, one after the other. Returns the tunnel that it becomes.
    async fn requests<C: Clone + Eq + Hash + Send + Sync + 'static>(
        self: Arc<Self>,
        stream: Stream,
        certificate: Option<CertificateUser>,
        mut tls: watch::Receiver<Arc<ServerConfig>>,
        usage: SlotUsage<C>,
    ) -> Option<Tunnel> {
        let limits = if certificate.is_some() { KNOWN } else { ANONYMOUS };
        let (certificate, tunnel) = (Arc::new(certificate), Arc::new(Mutex::new(None)));
        let (opened, exempt) = (tunnel.clone(), stream.get_ref().0.exempt());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (shared, certificate, opened) = (self.clone(), certificate.clone(), opened.clone());
            let (exempt, usage) = (exempt.clone(), usage.clone());
            async move {
                exempt.set(false);
                let upgrade = hyper::upgrade::on(&mut request);
                // No request has a body that matters.
                let (parts, _) = request.into_parts();
                let answer = shared.handler.handle(certificate.as_ref().as_ref(), parts, upgrade).await;
                exempt.set(answer.may_pause);
                let status = answer.response.status();
                if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
                    usage.prove();
                } else {
                    usage.touch();
                }
                *opened.lock().unwrap_or_else(PoisonError::into_inner) = answer.tunnel;
                Ok::<_, Infallible>(answer.response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_buf_size(limits.max_head)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = &mut connection => result,
            _ = tls.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            debug!(%error, "connection failed");
        }
        tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Without a delay of keystrokes until the previous one is acknowledged, and with keepalive: the machine of a caller
/// may vanish, and a shell that nobody sees would run on in the source.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

async fn shake_hands(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Stream> {
    set_options(&stream)?;
    TlsAcceptor::from(config).accept(WriteTimeout::new(stream)).await
}

/// Whether the client's certificate was refused: its authority may be new.
fn is_certificate_error(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn vanished_callers_are_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        set_options(&stream).unwrap();
        assert!(SockRef::from(&stream).keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!(SockRef::from(&stream).tcp_keepalive_time().unwrap(), KEEPALIVE);
    }
}
