//! One connection as an API server has it: HTTP/2 over TLS 1.3, and a full handshake each time.

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

use crate::tls::Trust;

/// A connection; its clones share it, and it ends when the last answer of the last clone is there.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// The certificate that the server showed.
    pub certificate: Bytes,
    opened: Instant,
}

/// A request without an answer.
#[derive(Debug)]
pub enum Failure {
    /// The server has let the connection go before it looked at the request, and said so: any client of
    /// HTTP/2 sends it again on another connection.
    Unprocessed,
    /// Whatever else.
    Other(String),
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr, trust: &Trust) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(trust.config());
        let stream = connector.connect(address.ip().into(), stream).await.context("TLS handshake")?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.map(|shown| Bytes::copy_from_slice(shown)).unwrap_or_default();
        let http2 = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = http2.handshake(TokioIo::new(stream)).await.context("HTTP/2")?;
        // How it ends, requests are told.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, certificate, opened: Instant::now() })
    }

    /// Whether it takes requests, as far as is known.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// How long ago it was opened.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Sends a request, and reads the whole answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure> {
        let answer = self.sender.try_send_request(request).await.map_err(|mut error| {
            let unsent = error.take_message().is_some();
            if unsent { Failure::Unprocessed } else { Failure::of(&error.into_error()) }
        })?;
        let status = answer.status();
        let body = answer.into_body().collect().await;
        Ok((status, body.map_err(|error| Failure::of(&error))?.to_bytes()))
    }
}

impl Failure {
    fn of(error: &hyper::Error) -> Self {
        let reason = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        let unprocessed = reason.is_some_and(|reason| {
            let farewell = reason.is_go_away() && reason.reason() == Some(h2::Reason::NO_ERROR);
            farewell || reason.reason() == Some(h2::Reason::REFUSED_STREAM)
        });
        if unprocessed { Self::Unprocessed } else { Self::Other(error_line(error)) }
    }
}

/// An error with its causes.
fn error_line(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
