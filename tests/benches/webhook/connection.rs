//! Connects like an API server: HTTP/2 over TLS 1.3, with a full handshake.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Trust;

/// A connection. Its clones share it, and it ends with the last response to the last clone.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// The server's certificate.
    pub certificate: Bytes,
    opened: Instant,
}

/// Why a request received no response.
#[derive(Debug)]
pub enum Failure {
    /// The server closed the connection, and reported that it did not process the request. HTTP/2 clients retry it on
    /// another connection.
    Unprocessed,
    /// Any other error.
    Other(String),
}

impl Connection {
    pub async fn open(address: SocketAddr, trust: &Trust) -> anyhow::Result<Self> {
        let stream = shake_hands(address, trust).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate =
            certificate.map(|certificate| Bytes::copy_from_slice(certificate)).unwrap_or_default();
        let http2 = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = http2.handshake(TokioIo::new(stream)).await.context("HTTP/2")?;
        // Requests report the connection's errors.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, certificate, opened: Instant::now() })
    }

    /// Whether it accepts requests, as far as known.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// The time since it was opened.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Sends a request, and reads the whole response.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
        let response = self.sender.try_send_request(request).await.map_err(|mut error| {
            let unsent = error.take_message().is_some();
            if unsent { Failure::Unprocessed } else { Failure::of(&error.into_error()) }
        })?;
        let status = response.status();
        let body = response.into_body().collect().await;
        Ok((status, body.map_err(|error| Failure::of(&error))?.to_bytes()))
    }
}

/// Connects, and completes the TLS handshake.
pub async fn shake_hands(address: SocketAddr, trust: &Trust) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(trust.config());
    connector.connect(address.ip().into(), stream).await.context("TLS handshake")
}

impl Failure {
    fn of(error: &hyper::Error) -> Self {
        let reason = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        let unprocessed = reason.is_some_and(|reason| {
            let is_graceful = reason.is_go_away() && reason.reason() == Some(h2::Reason::NO_ERROR);
            is_graceful || reason.reason() == Some(h2::Reason::REFUSED_STREAM)
        });
        if unprocessed { Self::Unprocessed } else { Self::Other(error_line(error)) }
    }
}

/// An error with its causes.
fn error_line(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
