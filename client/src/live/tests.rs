//! Live configs beside API servers that answer as no good one does.

use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{join_all, pending};
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::{Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};
use tower::service_fn;

use super::answer::Answer;
use super::health::{Health, Pulse};
use super::{LiveConfig, Wire};
use crate::config::Contexts;

/// A server that answers each request so, and where it is.
async fn server(answer: impl Fn(&str) -> &'static str + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = socket.read(&mut buffer).await {
                    let status = answer(&String::from_utf8_lossy(&buffer[..length]));
                    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                    socket.write_all(text.as_bytes()).await.unwrap();
                }
            });
        }
    });
    format!("http://{address}")
}

/// A config whose Secret can be read once, and never again.
async fn of_a_secret_that_hangs() -> LiveConfig {
    let asked = Arc::<AtomicUsize>::default();
    let home = service_fn(move |_: Request<Body>| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            if number > 0 {
                pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::from(br#"{"metadata":{"name":"s"}}"#.to_vec())))
        }
    });
    // Nobody listens there.
    let config = |_: &_| Ok::<_, std::fmt::Error>(Config::new("http://127.0.0.1:1".parse().unwrap()));
    LiveConfig::from_secret(&Client::new(home, "default"), "n", "s", config).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_wait_together_for_what_is_read_anew() {
    let live = of_a_secret_that_hangs().await;
    let start = Instant::now();
    join_all((0..6).map(|_| async { live.client().apiserver_version().await.unwrap_err() })).await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_server_that_refuses_or_is_overloaded_is_asked_once_by_who_has_others_to_look_after() {
    let asked = Arc::<AtomicUsize>::default();
    let counted = asked.clone();
    let url = server(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        "503 Service Unavailable"
    })
    .await;
    let live = LiveConfig::fixed(Config::new(url.parse().unwrap())).unwrap();
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let answer = Wire::asking(live.into()).into_client().send(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), asked.load(Ordering::SeqCst)), (503, 1));
}

#[tokio::test]
async fn a_body_ends_when_its_cluster_falls_silent() {
    let pulse = Pulse::default();
    let body = Body::from(b"all".to_vec());
    assert_eq!(Answer::of(body, pulse.clone()).collect().await.unwrap().to_bytes(), "all");

    let endless = Client::new(
        service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Endless)) }),
        "default",
    );
    let endless = endless.send(Request::new(Body::empty())).await.unwrap().into_body();
    let mut answer = pin!(Answer::of(endless, pulse.clone()).collect());
    assert!(futures::poll!(&mut answer).is_pending());
    pulse.note(Health::Away { problem: "it hangs".into(), is_silent: false });
    assert!(futures::poll!(&mut answer).is_pending());
    pulse.note(Health::Away { problem: "it hangs".into(), is_silent: true });
    assert!(answer.await.unwrap_err().to_string().contains("it hangs"));
}

/// Has neither data nor an end.
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

/// A kubeconfig whose user is a plugin that runs this script, which finds its folder in `$D`.
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
            // The file itself can't be run for as long as a process that another test starts has it open.
            "command": "sh",
            "args": [plugin],
            "interactiveMode": "Never",
            "env": [{ "name": "AWS_SECRET_ACCESS_KEY", "value": "env-s3cret" }],
        } } }],
    });
    let file = folder.join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    Contexts::at(file)
}

const CREDENTIAL: &str =
    r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$T'"}}"#;

#[rstest::rstest]
#[case::that_fails(
    r#"echo '{"status":{"token":"t0ken"}}'; echo t0ken >&2; exit 1"#,
    "failed: exit status: 1"
)]
#[case::that_prints_something_else(r#"echo '"t0ken"'"#, "printed no ExecCredential")]
fn a_plugin_is_not_quoted(#[case] script: &str, #[case] said: &str) {
    let folder = tempfile::tempdir().unwrap();
    let error = with_plugin(folder.path(), "https://127.0.0.1:1", script).context(None).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(said), "{shown}");
    assert!(!shown.contains("t0ken") && !shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_plugin_is_asked_again_when_its_token_is_refused_and_not_for_who_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("echo run >> $D/runs\nT=$(cat $D/token)\necho '{CREDENTIAL}'");
    let runs = || std::fs::read_to_string(folder.path().join("runs")).unwrap().lines().count();
    std::fs::write(folder.path().join("token"), "first").unwrap();

    let url = server(|request| if request.contains("second") { "200 OK" } else { "401 Unauthorized" }).await;
    let live = with_plugin(folder.path(), &url, &script).context(None).unwrap();
    std::fs::write(folder.path().join("token"), "second").unwrap();
    let request = || Request::get("/version").body(Body::empty()).unwrap();
    assert_eq!(live.client().send(request()).await.unwrap().status().as_u16(), 200);

    let away = with_plugin(folder.path(), "http://127.0.0.1:1", &script).context(None).unwrap();
    let before = runs();
    for _ in 0..3 {
        away.client().send(request()).await.unwrap_err();
    }
    assert_eq!(runs(), before);
}
