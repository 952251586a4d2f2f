//! What callers can hold, and learn.

use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn silent_connections_keep_out_neither_api_servers_nor_tokens() {
    let scene = Scene::start_with(Maximums { strangers: 3, ..Maximums::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap());
    }
    let mut api_server = scene.api_server().await;
    let mut caller = scene.connect(None).await;
    assert_eq!(caller.request("GET", "/healthz", TOKEN).await.unwrap().code, 200);
    assert_eq!(api_server.request("GET", "/healthz", "").await.unwrap().code, 200);

    // A later flood evicts its own connections only.
    for _ in 0..10 {
        silent.push(TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap());
    }
    for stream in &mut silent[..17] {
        // The end, or an error.
        assert_eq!(soon(stream.read_u8()).await.ok(), None);
    }
    assert_eq!(caller.request("GET", "/healthz", TOKEN).await.unwrap().code, 200);
    assert_eq!(api_server.request("GET", "/healthz", "").await.unwrap().code, 200);
}

#[tokio::test]
async fn certificates_without_rights_do_not_keep_out_api_servers() {
    let scene = Scene::start_with(Maximums { known: 2, ..Maximums::default() }).await;
    let mut authorized = scene.api_server().await;
    assert_eq!(authorized.request("GET", "/healthz", "").await.unwrap().code, 200);
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(scene.api_server().await);
    }
    assert_eq!(authorized.request("GET", "/healthz", "").await.unwrap().code, 200);
    let mut late = scene.api_server().await;
    assert_eq!(late.request("GET", "/healthz", "").await.unwrap().code, 200);
    assert!(silent[0].request("GET", "/healthz", "").await.is_err());
    assert_eq!(authorized.request("GET", "/healthz", "").await.unwrap().code, 200);
    // Those without one have slots of their own.
    let mut stranger = scene.connect(None).await;
    assert_eq!(stranger.request("GET", "/healthz", TOKEN).await.unwrap().code, 200);
}

#[tokio::test]
async fn caller_without_rights_holds_no_connection_and_causes_few_reviews() {
    let scene = Scene::start().await;
    scene.target.set(|state| state.rights.clear());
    let mut caller = scene.connect(None).await;
    // The second request is sent before the first is answered, and is not handled.
    let request = format!("GET /pods HTTP/1.1\r\nhost: node\r\n{TOKEN}\r\n");
    caller.0.write_all(request.as_bytes()).await.unwrap();
    let response = caller.request("GET", "/stats/summary", TOKEN).await.unwrap();
    assert_eq!(response.code, 403, "{response:?}");
    assert!(response.head.contains("connection: close"), "{response:?}");
    let mut rest = Vec::new();
    // The end, or an error.
    let _ = soon(caller.0.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    let reviewed = scene.target.set(|state| state.access_reviews.clone());
    assert!(reviewed.iter().all(|spec| spec["resourceAttributes"]["subresource"] != "stats"), "{reviewed:?}");

    let mut api_server = scene.api_server().await;
    for _ in 0..3 {
        let response = api_server.request("GET", "/pods", "").await.unwrap();
        assert_eq!(response.code, 403, "{response:?}");
        assert!(!response.head.contains("connection: close"), "{response:?}");
    }
    // Each of the two users was reviewed once, for `pods` and for `proxy`.
    assert_eq!(scene.target.set(|state| state.access_reviews.len()), 4);
}

#[tokio::test]
async fn number_of_tunnels_is_limited() {
    let scene = Scene::start_with(Maximums { tunnels: 1, ..Maximums::default() }).await;
    let mut first = scene.api_server().await;
    // A refused one counts no longer.
    let refused = first.request("POST", "/exec/home/p/c?command=refused&output=1", SPDY).await.unwrap();
    assert_eq!(refused.code, 403, "{refused:?}");
    assert_eq!(first.request("POST", EXEC, SPDY).await.unwrap().code, 101);
    let received = scene.requests().len();

    let mut second = scene.api_server().await;
    let response = second.request("POST", EXEC, SPDY).await.unwrap();
    let status: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!((response.code, &status["reason"]), (429, &"TooManyRequests".into()));
    assert!(status["message"].as_str().unwrap().contains("has 1 open sessions"), "{status}");
    // Logs are no tunnels, and the source is not asked for what is refused.
    assert_eq!(scene.requests().len(), received);
    assert_eq!(second.request("GET", "/containerLogs/home/p/c", "").await.unwrap().code, 200);

    // Both ends have closed.
    first.0.shutdown().await.unwrap();
    soon(first.0.read_to_end(&mut Vec::new())).await.unwrap();
    let mut third = scene.api_server().await;
    soon(async {
        while third.request("POST", EXEC, SPDY).await.unwrap().code != 101 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[rstest]
#[case::pod("p")]
#[case::pod_that_has_not_started("pending")]
#[case::no_pod("absent")]
#[tokio::test]
async fn refusal_does_not_tell_whether_a_pod_exists(#[case] pod: &str) {
    let scene = Scene::start().await;
    scene.target.set(|state| state.rights.clear());
    let mut caller = scene.connect(None).await;
    let response = caller.request("GET", &format!("/containerLogs/home/{pod}/c"), TOKEN).await.unwrap();
    assert_eq!((response.code, &*response.body), (403, "user prober may not get nodes/proxy\n"));
}
