//! Serves liveness, readiness and metrics over plain HTTP.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use tracing::info;

use crate::accept::accept;
use crate::slots::Slots;

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/#overall-structure>
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Longest duration of a connection, which serves one request. Prometheus waits 10 s, kubelets less.
const DEADLINE: Duration = Duration::from_secs(10);

/// Maximum number of concurrent connections.
const MAX_CONNECTIONS: usize = 128;

/// Probe flags of every long-running binary.
#[derive(Clone, Debug, clap::Args)]
pub struct ProbeArgs {
    /// Serve /healthz, /readyz and /metrics over plain HTTP at this address; port 0 selects a free port, `off` disables them
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    pub probe_address: ProbeAddress,
}

/// Value of `--probe-address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAddress {
    /// `off`.
    Off,
    /// An address to listen at.
    At(SocketAddr),
}

/// The value of `--probe-address` is invalid.
#[derive(Debug, thiserror::Error)]
#[error("expected IP:PORT, [IPv6]:PORT or `off`")]
pub struct AddressError;

impl FromStr for ProbeAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| AddressError),
        }
    }
}

/// Returns the reason if the check fails.
pub type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the endpoints report.
pub struct Probes {
    /// `/healthz`: the kubelet restarts the container if it fails.
    pub alive: Check,
    /// `/readyz`: Services send no requests here while it fails.
    pub ready: Check,
    /// `/metrics`.
    pub metrics: Registry,
}

/// A bound address. Clients wait until [`Listener::serve`] runs.
#[derive(Debug)]
pub struct Listener {
    listener: Option<tokio::net::TcpListener>,
}

impl ProbeArgs {
    /// Listens at `--probe-address`.
    ///
    /// # Errors
    /// If the address can't be bound.
    pub fn listen(&self) -> anyhow::Result<Listener> {
        let ProbeAddress::At(address) = self.probe_address else { return Ok(Listener { listener: None }) };
        let listener = listen(address)
            .and_then(tokio::net::TcpListener::from_std)
            .with_context(|| format!("can't listen at --probe-address {address}"))?;
        let address = listener.local_addr().context("--probe-address")?;
        info!(%address, "serving /healthz, /readyz and /metrics");
        Ok(Listener { listener: Some(listener) })
    }
}

/// Listens at an address; at `0.0.0.0` instead of `[::]` if the node has no IPv6.
///
/// # Errors
/// If the address can't be bound.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).or_else(|error| {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        let fallback =
            address.is_ipv6() && address.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse;
        if fallback { TcpListener::bind(any) } else { Err(error) }
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Listener {
    /// Serves forever. If the flag is `off`, never returns either, but serves nothing.
    pub async fn serve(self, probes: Probes) -> Infallible {
        let Some(listener) = self.listener else { return std::future::pending().await };
        let service = TowerToHyperService::new(router(probes));
        let slots = Slots::new(MAX_CONNECTIONS);
        loop {
            let (stream, address) = accept(&listener, "probes or metrics").await;
            let connection = http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service.clone());
            let mut slot = slots.take(address);
            tokio::spawn(async move {
                tokio::select! {
                    // The client may close the connection at any time.
                    _ = timeout(DEADLINE, connection) => {}
                    () = slot.evicted() => {}
                }
            });
        }
    }
}

fn router(probes: Probes) -> Router {
    Router::new()
        .route("/healthz", get(async |State(probes): State<Arc<Probes>>| respond(&probes.alive)))
        .route("/readyz", get(async |State(probes): State<Arc<Probes>>| respond(&probes.ready)))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(probes))
}

fn respond(check: &Check) -> Response {
    match check() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &probes.metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a metric can't be encoded\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use clap::Parser;
    use prometheus_client::metrics::counter::Counter;
    use rstest::rstest;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tower::ServiceExt;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        probes: ProbeArgs,
    }

    fn args(address: &str) -> ProbeArgs {
        Args::parse_from(["test", "--probe-address", address]).probes
    }

    fn probes() -> Probes {
        let mut metrics = Registry::default();
        let mints: Counter = Counter::default();
        mints.inc();
        metrics.register("mints", "Tokens", mints);
        Probes { alive: Box::new(|| Ok(())), ready: Box::new(|| Err("imports: not listed".into())), metrics }
    }

    #[rstest]
    #[case("GET", "/healthz", 200, "ok\n")]
    #[case("HEAD", "/healthz", 200, "")]
    #[case("GET", "/readyz", 503, "imports: not listed\n")]
    #[case("GET", "/metrics", 200, "# HELP mints Tokens.\n# TYPE mints counter\nmints_total 1\n# EOF\n")]
    #[case("POST", "/metrics", 405, "")]
    #[case("GET", "/", 404, "")]
    #[tokio::test]
    async fn each_path_has_its_response(
        #[case] method: &str,
        #[case] path: &str,
        #[case] status: u16,
        #[case] text: &str,
    ) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router(probes()).oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        if path == "/metrics" && status == 200 {
            assert_eq!(response.headers()[header::CONTENT_TYPE], OPENMETRICS);
        }
        assert_eq!(to_bytes(response.into_body(), 1000).await.unwrap(), text);
    }

    #[tokio::test]
    async fn probes_are_served_over_http() {
        let listener = args("127.0.0.1:0").listen().unwrap();
        let address = listener.listener.as_ref().unwrap().local_addr().unwrap();
        let server = tokio::spawn(listener.serve(probes()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(
            response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nok\n"),
            "{response}"
        );
        server.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_is_closed() {
        let listener = args("127.0.0.1:0").listen().unwrap();
        let address = listener.listener.as_ref().unwrap().local_addr().unwrap();
        let server = tokio::spawn(listener.serve(probes()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        server.abort();
    }

    #[tokio::test]
    async fn silent_connections_do_not_keep_out_a_probe() {
        let listener = args("127.0.0.1:0").listen().unwrap();
        let address = listener.listener.as_ref().unwrap().local_addr().unwrap();
        let server = tokio::spawn(listener.serve(probes()));
        let mut silent = Vec::new();
        for _ in 0..=MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        // The oldest one was evicted; the newest is still open.
        assert_eq!(silent[0].read(&mut [0]).await.ok().unwrap_or(0), 0);
        let newest = silent.last_mut().unwrap();
        newest.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_ne!(newest.read(&mut [0]).await.unwrap(), 0);
        server.abort();
    }

    #[tokio::test]
    async fn bind_error_names_flag_and_address() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = args(&address).listen().unwrap_err();
        assert!(error.to_string().contains("--probe-address") && error.to_string().contains(&address));
    }

    #[rstest]
    #[case("off", Some(ProbeAddress::Off))]
    #[case("127.0.0.1:0", Some(ProbeAddress::At(SocketAddr::from(([127, 0, 0, 1], 0)))))]
    #[case("[::]:8080", Some(ProbeAddress::At(SocketAddr::from(([0; 16], 8080)))))]
    #[case(":8080", None)]
    #[case("", None)]
    fn addresses_are_parsed(#[case] text: &str, #[case] address: Option<ProbeAddress>) {
        assert_eq!(text.parse().ok(), address);
    }
}
