//! An upgraded connection of a caller, joined to one of a source: exec, attach and port-forward.
//!
//! *Absent:* code for SPDY or WebSocket. What passes is not looked at.

use std::io;
use std::sync::Arc;

use http::header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mcsa_client::clusters::UpgradedStream;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// Buffer for each direction, in bytes.
const BUFFER: usize = 16 * 1024;

/// How browsers send a bearer token: as a WebSocket protocol of this form.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Both ends, before the caller has received the response.
pub(super) struct Tunnel {
    pub(super) caller: OnUpgrade,
    pub(super) source: UpgradedStream,
    pub(super) slot: TunnelSlot,
}

/// Limits the number of tunnels.
pub(super) struct TunnelSlots {
    maximum: usize,
    free: Arc<Semaphore>,
}

/// The slot of a tunnel, until it is dropped.
pub(super) struct TunnelSlot {
    _permit: OwnedSemaphorePermit,
}

impl TunnelSlots {
    pub(super) fn new(maximum: usize) -> Self {
        Self { maximum, free: Arc::new(Semaphore::new(maximum)) }
    }

    /// A slot for a new tunnel, without waiting for one: sessions may last for days.
    pub(super) fn take(&self) -> Result<TunnelSlot, Refusal> {
        let permit = self.free.clone().try_acquire_owned();
        permit.map(|permit| TunnelSlot { _permit: permit }).map_err(|_| {
            let message = format!(
                "the launcher has {} open sessions of exec, attach and port-forward, its maximum: close some, or try \
                 again later",
                self.maximum
            );
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, message)
        })
    }
}

impl Tunnel {
    /// Copies bytes until both ends have closed, or one fails.
    pub(super) async fn run(self) -> io::Result<()> {
        let Self { caller, mut source, slot: _slot } = self;
        let mut caller = TokioIo::new(caller.await.map_err(io::Error::other)?);
        copy_bidirectional_with_sizes(&mut caller, &mut source, BUFFER, BUFFER).await.map(drop)
    }
}

/// The headers of an upgrade that the source gets: those of the protocol. No credential, identity or address of the
/// caller is passed on. `None`: the request is no upgrade.
pub(super) fn request_headers(headers: &HeaderMap) -> Option<HeaderMap> {
    headers.contains_key(UPGRADE).then(|| protocol_headers(headers))
}

/// The headers of the source's response 101.
pub(super) fn response_headers(headers: &HeaderMap) -> HeaderMap {
    protocol_headers(headers)
}

fn protocol_headers(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| belongs_to_protocol(name)) {
        if name != SEC_WEBSOCKET_PROTOCOL {
            kept.append(name, value.clone());
        } else if let Some(value) = without_token(value) {
            kept.append(name, value);
        }
    }
    kept.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    kept
}

fn belongs_to_protocol(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == UPGRADE.as_str() || name.starts_with("x-stream-protocol-") || name.starts_with("sec-websocket-")
}

fn without_token(protocols: &HeaderValue) -> Option<HeaderValue> {
    let protocols = protocols.to_str().ok()?.split(',').map(str::trim);
    let kept: Vec<_> = protocols.filter(|protocol| !protocol.starts_with(TOKEN_PROTOCOL)).collect();
    HeaderValue::from_str(&kept.join(", ")).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for &(name, value) in all {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_headers_of_the_protocol_are_passed_on() {
        let sent = headers(&[
            ("host", "10.0.0.1:10350"),
            ("authorization", "Bearer of-the-caller"),
            ("cookie", "session"),
            ("impersonate-user", "admin"),
            ("x-remote-user", "admin"),
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
        ]);
        let expected = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
        ]);
        assert_eq!(request_headers(&sent), Some(expected));
    }

    #[test]
    fn token_in_a_websocket_protocol_is_removed() {
        let sent = headers(&[
            ("upgrade", "websocket"),
            ("sec-websocket-key", "abc"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.dG9rZW4"),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dG9rZW4"),
        ]);
        let expected = headers(&[
            ("upgrade", "websocket"),
            ("sec-websocket-key", "abc"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
            ("connection", "Upgrade"),
        ]);
        assert_eq!(request_headers(&sent), Some(expected));
    }

    #[test]
    fn request_without_a_protocol_is_no_upgrade() {
        assert_eq!(request_headers(&headers(&[("connection", "Upgrade")])), None);
    }
}
