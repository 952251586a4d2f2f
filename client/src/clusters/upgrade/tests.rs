//! Upgrades against a server that echoes.

use std::time::Duration;

use http::Request;
use kube::Config;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::*;
use crate::clusters::{Clusters, Health};
use crate::live::LiveConfig;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n";

/// Responds according to the path, and reports requests and the ends of echoing connections.
async fn respond(mut socket: TcpStream, events: UnboundedSender<String>) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.push(socket.read_u8().await?);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let request = String::from_utf8(std::mem::take(&mut head)).unwrap();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let refusal = |code: u16, body: &str| {
            format!("HTTP/1.1 {code} Refused\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let response = match &*path {
            "/forbidden" => refusal(403, r#"{"kind":"Status","message":"pods is forbidden","code":403}"#),
            "/text" => refusal(400, "upgrade request required"),
            "/large" => refusal(500, &"x".repeat(2 * MAX_ERROR)),
            "/ok" | "/readyz" => refusal(200, "{}"),
            _ => SWITCH.to_owned(),
        };
        socket.write_all(response.as_bytes()).await?;
        match &*path {
            "/echo" => {
                drop(events.send(request));
                let (mut reader, mut writer) = socket.split();
                drop(tokio::io::copy(&mut reader, &mut writer).await);
                drop(events.send("closed".into()));
                return Ok(());
            }
            "/stuck" => std::future::pending().await,
            _ => {}
        }
    }
}

async fn next(events: &mut UnboundedReceiver<String>) -> String {
    timeout(Duration::from_secs(60), events.recv()).await.unwrap().unwrap()
}

/// A cluster that is ready, and the events of its server.
async fn cluster() -> (Clusters, Member, UnboundedReceiver<String>) {
    let (events, received) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(respond(socket, events.clone()));
        }
    });
    let mut config = Config::new(url.parse().unwrap());
    config.auth_info.token = Some("of-the-member".to_owned().into());
    let clusters = Clusters::builder().member("c2", LiveConfig::fixed(config).unwrap()).start().unwrap();
    let member = clusters.get("c2").unwrap();
    member.watch_health().wait_for(Health::is_ready).await.unwrap();
    (clusters, member, received)
}

fn request(path: &str) -> Request<Vec<u8>> {
    let request =
        Request::get(path).header("upgrade", "SPDY/3.1").header("authorization", "Bearer of-another");
    request.body(Vec::new()).unwrap()
}

#[tokio::test]
async fn upgraded_stream_carries_bytes_with_the_credential_of_the_member() {
    let (_clusters, member, mut events) = cluster().await;
    let (parts, mut stream) = member.upgrade(request("/echo")).await.unwrap();
    assert_eq!(parts.headers["upgrade"], "SPDY/3.1");
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
    let head = next(&mut events).await.to_lowercase();
    assert!(head.contains("authorization: bearer of-the-member") && !head.contains("of-another"), "{head}");
    assert!(head.contains("connection: upgrade") && head.contains("upgrade: spdy/3.1"), "{head}");
    drop(stream);
    assert_eq!(next(&mut events).await, "closed");
}

#[derive(Debug, PartialEq)]
enum Cause {
    Leaves,
    SetEnds,
    Unresponsive,
}

#[rstest]
#[case(Cause::Leaves, "cluster c2 left the set")]
#[case(Cause::SetEnds, "cluster c2 left the set")]
#[case(Cause::Unresponsive, "cluster c2 is unresponsive: it hangs")]
#[tokio::test]
async fn reads_and_writes_fail_at_once(#[case] cause: Cause, #[case] expected: &str) {
    let (clusters, member, mut events) = cluster().await;
    let (mut reader, mut writer) = tokio::io::split(member.upgrade(request("/stuck")).await.unwrap().1);
    // Two tasks that wait: nothing sends, and nothing receives.
    let reads = tokio::spawn(async move { reader.read_u8().await.unwrap_err() });
    let writes = tokio::spawn(async move {
        loop {
            if let Err(error) = writer.write_all(&[0; 65536]).await {
                return error;
            }
        }
    });
    // The caller keeps this stream, and its connection is closed nevertheless.
    let (_, mut kept) = member.upgrade(request("/echo")).await.unwrap();
    next(&mut events).await;
    match cause {
        Cause::Leaves => drop(clusters.leave("c2")),
        Cause::SetEnds => drop(clusters),
        Cause::Unresponsive => member
            .health_state()
            .set(Health::Unavailable { problem: "it hangs".into(), is_unresponsive: true }),
    }
    for error in [reads.await.unwrap(), writes.await.unwrap(), kept.read_u8().await.unwrap_err()] {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(next(&mut events).await, "closed");
    // A health check may find out that the cluster does respond.
    if cause != Cause::Unresponsive {
        let error = member.upgrade(request("/echo")).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[rstest]
#[case("/forbidden", 403, "pods is forbidden")]
#[case("/text", 400, "upgrade request required")]
#[case("/large", 500, "the server did not switch protocols")]
#[case("/ok", 200, "the server did not switch protocols")]
#[tokio::test]
async fn response_that_is_not_101_is_an_error(#[case] path: &str, #[case] code: u16, #[case] message: &str) {
    let (_clusters, member, _events) = cluster().await;
    match member.upgrade(request(path)).await.unwrap_err() {
        kube::Error::Api(status) => assert_eq!((status.code, &*status.message), (code, message)),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn request_without_a_protocol_is_an_error() {
    let (_clusters, member, _events) = cluster().await;
    let error = member.upgrade(Request::get("/echo").body(Vec::new()).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("no header Upgrade"), "{error}");
}
