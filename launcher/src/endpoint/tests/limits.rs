//! What a caller can hold.

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

    // Neither does a later flood evict who has a certificate. It evicts the others.
    for _ in 0..10 {
        silent.push(TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap());
    }
    for stream in &mut silent[..17] {
        // The end, or an error.
        assert_eq!(soon(stream.read_u8()).await.ok(), None);
    }
    assert!(caller.request("GET", "/healthz", TOKEN).await.is_err());
    assert_eq!(api_server.request("GET", "/healthz", "").await.unwrap().code, 200);
}

#[tokio::test]
async fn too_many_connections_with_a_certificate_are_closed() {
    let scene = Scene::start_with(Maximums { known: 1, ..Maximums::default() }).await;
    let mut first = scene.api_server().await;
    assert_eq!(first.request("GET", "/healthz", "").await.unwrap().code, 200);
    let mut second = scene.api_server().await;
    assert!(second.request("GET", "/healthz", "").await.is_err());
    assert_eq!(first.request("GET", "/healthz", "").await.unwrap().code, 200);
    // Those without one have slots of their own.
    let mut stranger = scene.connect(None).await;
    assert_eq!(stranger.request("GET", "/healthz", TOKEN).await.unwrap().code, 200);
}
