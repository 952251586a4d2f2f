//! Who is connected: so many at a time, and none who has nothing to say.
//!
//! API servers keep a few connections each. Whoever else reaches the port may open thousands, and
//! leave them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Connections at a time; more wait until others have gone. Each takes some 8 KiB.
const MOST: usize = 4_000;

/// How long someone who has connected may take for the first words.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many bytes: as long as what a connection of HTTP/2 begins with, and shorter than any request. From
/// then on, the server has limits of its own.
const FIRST_WORDS: usize = 24;

/// An acceptor that has these limits, around another one.
#[derive(Clone, Debug)]
pub(crate) struct Limited<A> {
    inner: A,
    places: Arc<Semaphore>,
}

impl<A> Limited<A> {
    /// With the limits around `inner`.
    pub(crate) fn new(inner: A) -> Self {
        Self { inner, places: Arc::new(Semaphore::new(MOST)) }
    }
}

impl<A, I, S> Accept<I, S> for Limited<A>
where
    A: Accept<I, S> + Clone + Send + 'static,
    A::Future: Send,
    I: Send + 'static,
    S: Send + 'static,
{
    type Stream = Caller<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Self { inner, places } = self.clone();
        Box::pin(async move {
            // Never closed.
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let (stream, service) = inner.accept(stream, service).await?;
            Ok((
                Caller { stream, heard: 0, patience: Some(Box::pin(sleep(PATIENCE))), _place: place },
                service,
            ))
        })
    }
}

/// A connection, and its place.
pub(crate) struct Caller<S> {
    stream: S,
    heard: usize,
    /// Until the first words.
    patience: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl<S: AsyncRead + Unpin> AsyncRead for Caller<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                this.heard = this.heard.saturating_add(buffer.filled().len() - before);
                if this.heard >= FIRST_WORDS {
                    this.patience = None;
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                if let Some(patience) = &mut this.patience {
                    ready!(patience.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Caller<S> {
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
    async fn who_says_nothing_is_sent_away() {
        let (mut caller, stream) = duplex(64);
        let (mut stream, ()) = Limited::new(DefaultAcceptor).accept(stream, ()).await.unwrap();
        caller.write_all(b"PRI * ").await.unwrap();
        stream.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_something_may_think() {
        let (mut caller, stream) = duplex(64);
        let (mut stream, ()) = Limited::new(DefaultAcceptor).accept(stream, ()).await.unwrap();
        caller.write_all(&[7; FIRST_WORDS]).await.unwrap();
        stream.read_exact(&mut [0; FIRST_WORDS]).await.unwrap();
        advance(PATIENCE * 10).await;
        assert!(timeout(PATIENCE, stream.read_u8()).await.is_err(), "still connected");
        stream.write_u8(8).await.unwrap();
        assert_eq!(caller.read_u8().await.unwrap(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_there_is_place_for_wait() {
        let acceptor = Limited { inner: DefaultAcceptor, places: Arc::new(Semaphore::new(1)) };
        let (first, second) = (duplex(64), duplex(64));
        let held = acceptor.accept(first.1, ()).await.unwrap();
        let mut late = acceptor.accept(second.1, ());
        assert!(timeout(PATIENCE, &mut late).await.is_err());
        drop(held);
        assert!(timeout(PATIENCE, late).await.is_ok());
    }
}
