//! Live configs against API servers and credential plugins that misbehave.

use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{join_all, pending};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::{Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Duration, Instant};
use tower::service_fn;

use super::health::{Health, HealthState};
use super::response_body::ResponseBody;
use super::{ClusterAccess, LiveConfig, Transport};
use crate::config::Contexts;

/// Starts a server that responds to requests with the status that `response` returns. Returns its URL.
async fn server(response: impl Fn(&str) -> &'static str + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let response = response.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = socket.read(&mut buffer).await {
                    let status = response(&String::from_utf8_lossy(&buffer[..length]));
                    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                    socket.write_all(text.as_bytes()).await.unwrap();
                }
            });
        }
    });
    format!("http://{address}")
}

/// Starts a server that responds to all requests with this status. Returns its URL, and the number of requests.
async fn counting_server(status: &'static str) -> (String, Arc<AtomicUsize>) {
    let requests = Arc::<AtomicUsize>::default();
    let counter = requests.clone();
    let count = move |_: &str| {
        counter.fetch_add(1, Ordering::SeqCst);
        status
    };
    (server(count).await, requests)
}

/// A config from a Secret. The first request for the Secret succeeds, and all others hang.
async fn from_secret_that_hangs() -> LiveConfig {
    let requests = Arc::<AtomicUsize>::default();
    let home = service_fn(move |_: Request<Body>| {
        let number = requests.fetch_add(1, Ordering::SeqCst);
        async move {
            if number > 0 {
                pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::from(br#"{"metadata":{"name":"s"}}"#.to_vec())))
        }
    });
    // Nothing listens on this port.
    let config = |_: &_| Ok::<_, std::fmt::Error>(Config::new("http://127.0.0.1:1".parse().unwrap()));
    LiveConfig::from_secret(&Client::new(home, "default"), "n", "s", config).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_wait_for_the_same_reload() {
    let live = from_secret_that_hangs().await;
    let start = Instant::now();
    join_all((0..6).map(|_| async { live.client().apiserver_version().await.unwrap_err() })).await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test]
async fn health_checks_do_not_retry_a_503() {
    let (url, requests) = counting_server("503 Service Unavailable").await;
    let live = LiveConfig::fixed(Config::new(url.parse().unwrap())).unwrap();
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let response = ClusterAccess::from(live).check(request).await.unwrap();
    assert_eq!((response.status().as_u16(), requests.load(Ordering::SeqCst)), (503, 1));
}

#[tokio::test]
async fn a_response_body_ends_when_its_cluster_becomes_unresponsive() {
    let health = HealthState::default();
    let body = Body::from(b"all".to_vec());
    assert_eq!(ResponseBody::new(body, health.clone()).collect().await.unwrap().to_bytes(), "all");

    let endless = Client::new(
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Endless)) }),
        "default",
    );
    let endless = endless.send(Request::new(Body::empty())).await.unwrap().into_body();
    let mut body = pin!(ResponseBody::new(endless, health.clone()).collect());
    assert!(futures::poll!(&mut body).is_pending());
    health.set(Health::Unavailable { problem: "it hangs".into(), is_unresponsive: false });
    assert!(futures::poll!(&mut body).is_pending());
    health.set(Health::Unavailable { problem: "it hangs".into(), is_unresponsive: true });
    assert!(body.await.unwrap_err().to_string().contains("it hangs"));
}

/// A body without data that never ends.
struct Endless;

impl http_body::Body for Endless {
    type Data = <Body as http_body::Body>::Data;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Infallible>>> {
        std::task::Poll::Pending
    }
}

/// A kubeconfig whose user is a credential plugin that runs `script`, with `folder` in `$D`.
fn with_plugin(folder: &Path, server: &str, script: &str) -> Contexts {
    let plugin = folder.join("plugin");
    std::fs::write(&plugin, format!("D={}\n{script}\n", folder.display())).unwrap();
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            // Executing the script itself would fail while a child process of another test has it open (ETXTBSY).
            "command": "sh",
            "args": [plugin],
            "interactiveMode": "Never",
            "env": [{ "name": "AWS_SECRET_ACCESS_KEY", "value": "env-s3cret" }],
        } } }],
    });
    let file = folder.join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    Contexts::from_file(file)
}

const CREDENTIAL: &str =
    r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$T'"}}"#;

#[rstest::rstest]
#[case::that_fails(
    r#"echo '{"status":{"token":"t0ken"}}'; echo t0ken >&2; exit 1"#,
    "failed: exit status: 1"
)]
#[case::that_prints_something_else(r#"echo '"t0ken"'"#, "printed no ExecCredential")]
#[tokio::test]
async fn errors_do_not_quote_a_plugin(#[case] script: &str, #[case] expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let live = with_plugin(folder.path(), "https://127.0.0.1:1", script).context(None).unwrap();
    let error = live.client().apiserver_version().await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(expected), "{shown}");
    assert!(!shown.contains("t0ken") && !shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_plugin_runs_again_after_a_401_but_not_for_an_unreachable_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        format!("echo run >> $D/runs\nT=$(cat $D/token)\necho second > $D/token\necho '{CREDENTIAL}'");
    let runs = || std::fs::read_to_string(folder.path().join("runs")).unwrap().lines().count();
    std::fs::write(folder.path().join("token"), "first").unwrap();

    let url = server(|request| if request.contains("second") { "200 OK" } else { "401 Unauthorized" }).await;
    let live = with_plugin(folder.path(), &url, &script).context(None).unwrap();
    let request = || Request::get("/version").body(Body::empty()).unwrap();
    assert_eq!(live.client().send(request()).await.unwrap().status().as_u16(), 200);
    assert_eq!(runs(), 2);

    let unreachable = with_plugin(folder.path(), "http://127.0.0.1:1", &script).context(None).unwrap();
    for _ in 0..3 {
        unreachable.client().send(request()).await.unwrap_err();
    }
    assert_eq!(runs(), 2);
}

#[tokio::test]
async fn a_plugin_runs_once_for_all_clients_of_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("echo run >> $D/runs\nT=t\necho '{CREDENTIAL}'");
    let url = server(|_| "200 OK").await;
    let contexts = with_plugin(folder.path(), &url, &script);
    let clients: Vec<_> = (0..4).map(|_| contexts.context(None).unwrap().client()).collect();
    let request = || Request::get("/version").body(Body::empty()).unwrap();
    for response in
        join_all(clients.iter().flat_map(|client| [client.send(request()), client.send(request())])).await
    {
        assert_eq!(response.unwrap().status().as_u16(), 200);
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("runs")).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_plugin_that_hangs_delays_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let url = server(|_| "200 OK").await;
    let hangs = with_plugin(folder.path(), &url, "exec sleep 1000").context(None).unwrap().client();
    let mut waits = pin!(hangs.apiserver_version());
    assert!(futures::poll!(&mut waits).is_pending());
    let works = LiveConfig::fixed(Config::new(url.parse().unwrap())).unwrap().client();
    let request = Request::get("/version").body(Body::empty()).unwrap();
    assert_eq!(works.send(request).await.unwrap().status().as_u16(), 200);
    assert!(futures::poll!(&mut waits).is_pending());
}

#[tokio::test]
async fn a_401_of_a_server_behind_a_service_is_returned_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("echo run >> $D/runs\nT=t\necho '{CREDENTIAL}'");
    let (url, requests) = counting_server("401 Unauthorized").await;
    let live = with_plugin(folder.path(), &url, &script).context(None).unwrap();
    let health = HealthState::default();
    let client = Transport::for_member(live.into(), health.clone()).into_client();
    let runs = || std::fs::read_to_string(folder.path().join("runs")).unwrap().lines().count();
    let pay = Request::post("/api/v1/namespaces/n/services/s/proxy/pay").body(Body::empty()).unwrap();
    assert_eq!(client.send(pay).await.unwrap().status().as_u16(), 401);
    assert_eq!((requests.load(Ordering::SeqCst), runs(), health.health()), (1, 1, Health::Ready));
}

/// Starts a server that responds to all requests. Returns its URL, and reports each connection by its number, and the
/// requests on it.
async fn reporting_server() -> (String, UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (report, requests) = unbounded_channel();
    tokio::spawn(async move {
        for number in 1.. {
            let (mut socket, report) = (listener.accept().await.unwrap().0, report.clone());
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = socket.read(&mut buffer).await {
                    report.send((number, String::from_utf8_lossy(&buffer[..length]).into_owned())).unwrap();
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                }
            });
        }
    });
    (format!("http://{address}"), requests)
}

#[tokio::test]
async fn configs_share_connections_and_send_their_own_credentials() {
    let (url, mut requests) = reporting_server().await;
    let live = |change: fn(&mut Config)| {
        let mut config = Config::new(url.parse().unwrap());
        change(&mut config);
        LiveConfig::fixed(config).unwrap()
    };
    let first = live(|config| config.auth_info.token = Some("first".to_owned().into()));
    let second = live(|config| {
        config.auth_info.token = Some("second".to_owned().into());
        config.headers.push((HeaderName::from_static("x-key"), HeaderValue::from_static("k")));
        config.default_namespace = "other".into();
    });
    let other = live(|config| config.read_timeout = Some(Duration::from_secs(7)));
    let mut send = async |live: &LiveConfig| {
        let request = Request::get("/version").body(Body::empty()).unwrap();
        // The connection is free again when the body has been read.
        live.client().send(request).await.unwrap().into_body().collect().await.unwrap();
        requests.recv().await.unwrap()
    };
    for _ in 0..2 {
        let (connection, request) = send(&first).await;
        assert_eq!(connection, 1);
        assert!(
            request.contains("authorization: Bearer first\r\n") && !request.contains("x-key"),
            "{request}"
        );
        let (connection, request) = send(&second).await;
        assert_eq!(connection, 1);
        assert!(request.contains("authorization: Bearer second\r\n"), "{request}");
        assert!(request.contains("x-key: k\r\n") && !request.contains("first"), "{request}");
    }
    let (connection, request) = send(&other).await;
    assert_eq!(connection, 2);
    assert!(!request.contains("authorization"), "{request}");

    // All members of a cluster reconnect at the same time.
    let now = Instant::now();
    first.reconnect(now);
    assert_eq!(send(&second).await.0, 3);
    second.reconnect(now);
    assert_eq!(send(&first).await.0, 3);
    assert_eq!(send(&other).await.0, 2);
}
