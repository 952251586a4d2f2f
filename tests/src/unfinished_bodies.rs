//! A hostile client of an HTTP/2 server.

use std::convert::Infallible;

use futures::future::join_all;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

/// Concurrent requests.
const REQUESTS: usize = 8;

/// The start of each body. The server gets as much of it as it permits.
static BODY: [u8; 1024 * 1024] = [b' '; 1024 * 1024];

/// Sends JSON requests whose bodies don't end, until the server closes the connection.
///
/// # Errors
/// When the connection is closed.
pub async fn send_unfinished_bodies<S>(stream: S, path: &str) -> anyhow::Result<Infallible>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = h2::client::Builder::new().handshake::<_, &'static [u8]>(stream).await?;
    tokio::spawn(connection);
    loop {
        let mut requests = Vec::new();
        for _ in 0..REQUESTS {
            sender = sender.ready().await?;
            let request = Request::post(format!("https://localhost{path}"));
            let request = request.header("content-type", "application/json").body(())?;
            let (response, mut stream) = sender.send_request(request, false)?;
            stream.send_data(&BODY, false)?;
            requests.push(async move { (response.await, stream) });
        }
        join_all(requests).await;
    }
}
