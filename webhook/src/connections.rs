//! Limits the number of connections, and closes those that send nothing.
//!
//! API servers keep a few connections each. Any other client that reaches the port may open thousands.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Maximum number of concurrent connections; further ones wait. Each uses about 8 KiB.
const MAX_CONNECTIONS: usize = 4_000;

/// Time in which a client must send the first bytes.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);

/// Length of the HTTP/2 connection preface, in bytes; every HTTP/1 request is longer. After these bytes, the
/// HTTP server's own timeouts apply.
const PREFACE_LENGTH: usize = 24;

/// Wraps an acceptor with these limits.
#[derive(Clone, Debug)]
pub(crate) struct LimitedAcceptor<A> {
    inner: A,
    slots: Arc<Semaphore>,
}

impl<A> LimitedAcceptor<A> {
    pub(crate) fn new(inner: A) -> Self {
        Self { inner, slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl<A, I, S> Accept<I, S> for LimitedAcceptor<A>
where
    A: Accept<I, S> + Clone + Send + 'static,
    A::Future: Send,
    I: Send + 'static,
    S: Send + 'static,
{
    type Stream = Connection<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Self { inner, slots } = self.clone();
        Box::pin(async move {
            // Never fails: the semaphore is never closed.
            let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
            let (stream, service) = inner.accept(stream, service).await?;
            Ok((
                Connection {
                    stream,
                    received: 0,
                    deadline: Some(Box::pin(sleep(PREFACE_TIMEOUT))),
                    _slot: slot,
                },
                service,
            ))
        })
    }
}

/// A connection and its slot.
pub(crate) struct Connection<S> {
    stream: S,
    received: usize,
    /// `None` after the preface.
    deadline: Option<Pin<Box<Sleep>>>,
    _slot: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                this.received = this.received.saturating_add(buffer.filled().len() - before);
                if this.received >= PREFACE_LENGTH {
                    this.deadline = None;
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                if let Some(deadline) = &mut this.deadline {
                    ready!(deadline.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum_server::accept::DefaultAcceptor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{advance, timeout};

    #[tokio::test(start_paused = true)]
    async fn connection_that_stops_in_the_preface_times_out() {
        let (mut client, stream) = duplex(64);
        let (mut stream, ()) = LimitedAcceptor::new(DefaultAcceptor).accept(stream, ()).await.unwrap();
        client.write_all(b"PRI * ").await.unwrap();
        stream.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_may_pause_after_the_preface() {
        let (mut client, stream) = duplex(64);
        let (mut stream, ()) = LimitedAcceptor::new(DefaultAcceptor).accept(stream, ()).await.unwrap();
        client.write_all(&[7; PREFACE_LENGTH]).await.unwrap();
        stream.read_exact(&mut [0; PREFACE_LENGTH]).await.unwrap();
        advance(PREFACE_TIMEOUT * 10).await;
        assert!(timeout(PREFACE_TIMEOUT, stream.read_u8()).await.is_err(), "still connected");
        stream.write_u8(8).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_over_the_limit_wait() {
        let acceptor = LimitedAcceptor { inner: DefaultAcceptor, slots: Arc::new(Semaphore::new(1)) };
        let (first, second) = (duplex(64), duplex(64));
        let held = acceptor.accept(first.1, ()).await.unwrap();
        let mut late = acceptor.accept(second.1, ());
        assert!(timeout(PREFACE_TIMEOUT, &mut late).await.is_err());
        drop(held);
        assert!(timeout(PREFACE_TIMEOUT, late).await.is_ok());
    }
}
