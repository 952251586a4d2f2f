//! An API server for tests. Each of its connections may lead to another cluster.

use std::sync::Arc;

use kube::Config;
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::link::Link;
use mcsa_runtime::lease::Fence;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::Source;
use crate::clock::Clock;
use crate::metrics::Metrics;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    Identity,
    Token,
}

/// The response to a request.
pub(crate) struct Response {
    pub code: u16,
    pub body: Value,
    /// Whether the connection is closed.
    pub closes: bool,
}

/// A source whose link pins the cluster with UID `real`. `respond` gets the number of the connection and the number of
/// the request on it, both from 0.
pub(crate) async fn source(
    respond: impl Fn(usize, usize, Requested) -> Response + Send + Sync + 'static,
) -> Arc<Source> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let respond = Arc::new(respond);
    tokio::spawn(async move {
        let mut connection = 0;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, connection, respond.clone()));
            connection += 1;
        }
    });
    let config = Config::new(server.parse().unwrap());
    let endpoint = Endpoint { server, ca_bundle: None, tls_server_name: None, proxy_url: None };
    let link = Link { cluster_name: "c2".into(), cluster_uid: Some("real".into()), endpoint, config };
    let metrics = Metrics::new(&mut Registry::default());
    Source::new(link, None, &Fence::always_open(), &Clock::system(), &metrics).unwrap()
}

async fn serve<F>(stream: TcpStream, connection: usize, respond: Arc<F>)
where
    F: Fn(usize, usize, Requested) -> Response,
{
    let mut stream = BufReader::new(stream);
    for request in 0.. {
        let Some(requested) = read_request(&mut stream).await else { return };
        let Response { code, body, closes } = respond(connection, request, requested);
        let (body, close) = (body.to_string(), if closes { "connection: close\r\n" } else { "" });
        let head = format!("HTTP/1.1 {code} X\r\n{close}content-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        if closes {
            return;
        }
    }
}

/// Reads a request. `None`: the client closed the connection.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Requested> {
    let (mut requested, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        let first = if line.starts_with("post ") { Requested::Token } else { Requested::Identity };
        requested.get_or_insert(first);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    requested
}

impl Response {
    /// The response of the cluster with this UID. Its tokens are of the service account `team/a`.
    pub(crate) fn of_cluster(uid: &str, requested: Requested) -> Self {
        let body = match requested {
            Requested::Identity => json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-system", "uid": uid },
            }),
            Requested::Token => json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "metadata": {}, "spec": { "audiences": [] },
                "status": { "token": TOKEN, "expirationTimestamp": "1970-01-01T01:16:40Z" },
            }),
        };
        Self { code: 200, body, closes: false }
    }

    /// A refusal with this status code.
    pub(crate) fn refusal(code: u16) -> Self {
        let body = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure",
            "reason": "Test", "message": "no", "code": code,
        });
        Self { code, body, closes: false }
    }
}

/// A token of `team/a` without a valid signature, issued at 1000 s for an hour.
const TOKEN: &str = "e30.eyJpYXQiOjEwMDAsImV4cCI6NDYwMCwia3ViZXJuZXRlcy5pbyI6eyJuYW1lc3BhY2UiOiJ0ZWFtIiwic2VydmljZWFjY291bnQiOnsibmFtZSI6ImEiLCJ1aWQiOiJzYSJ9fX0.c2ln";
