//! Upgraded connections, for `exec`, `attach` and `port-forward`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, response};
use http_body_util::{BodyExt, Collected, Limited};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::core::Status;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::member::Member;

type Io = TokioIo<hyper::upgrade::Upgraded>;

/// Completes with the reason when a member's connections end. Wakes one task.
type End = BoxFuture<'static, Arc<str>>;

/// A connection that was upgraded to another protocol. See [`Member::upgrade`].
///
/// Reads and writes fail when the member leaves its set, or its cluster becomes unresponsive. The error has the kind
/// [`io::ErrorKind::ConnectionAborted`], and says why. Dropping the stream closes the connection.
pub struct UpgradedStream {
    connection: Connection,
    // One for each direction, because two tasks may wait: one that reads, and one that writes.
    read_end: End,
    write_end: End,
}

/// The most bytes of an error that are read: a cluster may be hostile.
const MAX_ERROR: usize = 64 * 1024;

enum Connection {
    Open(Io),
    /// Closed, even if the caller keeps the stream.
    Ended(Arc<str>),
}

impl Member {
    /// Upgrades a connection to another protocol, with the member's credential: WebSocket or SPDY, for the subresources
    /// `exec`, `attach` and `portforward` of pods. The stream carries the bytes that follow the response's header.
    ///
    /// The request needs a path and query, the header `Upgrade` and the headers of that protocol. `Connection` is set
    /// if it is missing, and `Authorization` is removed: it must not reach another cluster. If the request of somebody
    /// else is forwarded, remove their `Impersonate-*` headers, too.
    ///
    /// # Errors
    /// If the response is not 101. [`kube::Error::Api`] has the response's code, and the API server's message. Also if
    /// the request fails, and when the member leaves or becomes unresponsive in the meantime.
    pub async fn upgrade(
        &self,
        request: Request<Vec<u8>>,
    ) -> kube::Result<(response::Parts, UpgradedStream)> {
        tokio::select! {
            biased;
            reason = self.end() => Err(kube::Error::Service(aborted(&reason).into())),
            result = self.send_upgrade(request) => {
                let (parts, upgraded) = result?;
                let connection = Connection::Open(TokioIo::new(upgraded));
                Ok((parts, UpgradedStream { connection, read_end: self.end(), write_end: self.end() }))
            }
        }
    }

    async fn send_upgrade(
        &self,
        mut request: Request<Vec<u8>>,
    ) -> kube::Result<(response::Parts, hyper::upgrade::Upgraded)> {
        let headers = request.headers_mut();
        if !headers.contains_key(UPGRADE) {
            return Err(kube::Error::Service("the request has no header Upgrade".into()));
        }
        headers.remove(AUTHORIZATION);
        headers.entry(CONNECTION).or_insert(HeaderValue::from_static("Upgrade"));
        let mut response = self.client().send(request.map(Body::from)).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(kube::Error::HyperError)?;
        Ok((response.into_parts().0, upgraded))
    }

    /// Completes when the member leaves or its cluster becomes unresponsive.
    fn end(&self) -> End {
        let member = self.clone();
        async move {
            let cluster = member.name();
            tokio::select! {
                biased;
                () = member.left() => format!("cluster {cluster} left the set").into(),
                problem = member.health_state().clone().becomes_unresponsive() => {
                    format!("cluster {cluster} is unresponsive: {problem}").into()
                }
            }
        }
        .boxed()
    }
}

/// The error of a response that is not 101.
async fn refused(response: Response<Body>) -> kube::Error {
    let code = response.status();
    // Other bodies may never end.
    let body = match code.is_client_error() || code.is_server_error() {
        true => Limited::new(response.into_body(), MAX_ERROR).collect().await.ok(),
        false => None,
    };
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let status = serde_json::from_slice::<Status>(&body).ok().filter(|status| !status.message.is_empty());
    let status = status.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body);
        let message = match text.trim() {
            "" => "the server did not switch protocols",
            text => text,
        };
        Status::failure(message, code.canonical_reason().unwrap_or_default())
    });
    kube::Error::Api(status.with_code(code.as_u16()).boxed())
}

fn aborted(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, reason)
}

impl UpgradedStream {
    /// The connection, for a read.
    fn reader(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut Io>> {
        let Self { connection, read_end, .. } = self;
        connection.poll(read_end, context)
    }

    /// The connection, for a write.
    fn writer(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut Io>> {
        let Self { connection, write_end, .. } = self;
        connection.poll(write_end, context)
    }
}

impl Connection {
    /// Returns the connection unless it has ended, and wakes the task when it ends.
    fn poll(&mut self, end: &mut End, context: &mut Context<'_>) -> io::Result<Pin<&mut Io>> {
        if let Self::Open(_) = self
            && let Poll::Ready(reason) = end.poll_unpin(context)
        {
            *self = Self::Ended(reason);
        }
        match self {
            Self::Open(io) => Ok(Pin::new(io)),
            Self::Ended(reason) => Err(aborted(reason)),
        }
    }
}

impl AsyncRead for UpgradedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reader(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer(context)?.poll_shutdown(context)
    }
}

impl fmt::Debug for UpgradedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UpgradedStream").finish_non_exhaustive()
    }
}
