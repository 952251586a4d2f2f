//! A stream that fails if the other end does not read for a while: it would hold its slot for good.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Longest time without a byte that the other end takes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Fails if a write is blocked for longer than [`WRITE_TIMEOUT`], unless it is exempt. It stands below TLS, whose
/// buffers would count as progress.
#[derive(Debug)]
pub(super) struct WriteTimeout<S> {
    stream: S,
    exempt: Exempt,
    /// Ends when the current write has been blocked for too long.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Whether the other end may pause for as long as it likes. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Exempt(Arc<AtomicBool>);

impl Exempt {
    pub(super) fn set(&self, is_exempt: bool) {
        self.0.store(is_exempt, Ordering::Relaxed);
    }
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, exempt: Exempt::default(), deadline: None }
    }

    /// Changes whether this stream is exempt.
    pub(super) fn exempt(&self) -> Exempt {
        self.exempt.clone()
    }

    /// The result of an attempt to write, or an error if there have been none but blocked ones for too long.
    fn limit<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() || self.exempt.0.load(Ordering::Relaxed) {
            self.deadline = None;
            return result;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        let message = format!("the caller has read nothing for {}s", WRITE_TIMEOUT.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.limit(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.limit(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A socket has no buffer to flush, and closes at once: neither is progress.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    const BYTES: [u8; 64] = [0; 64];

    #[tokio::test(start_paused = true)]
    async fn write_that_nobody_reads_fails() {
        let (stream, _reader) = duplex(16);
        let error = WriteTimeout::new(stream).write_all(&BYTES).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn exempt_write_waits() {
        let (stream, _reader) = duplex(16);
        let mut stream = WriteTimeout::new(stream);
        let exempt = stream.exempt();
        exempt.set(true);
        assert!(timeout(10 * WRITE_TIMEOUT, stream.write_all(&BYTES)).await.is_err());
        // The next request is not.
        exempt.set(false);
        let error = stream.write_all(&BYTES).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reader_is_served() {
        let (stream, mut reader) = duplex(16);
        let mut stream = WriteTimeout::new(stream);
        let reads = async {
            for _ in 0..4 {
                sleep(WRITE_TIMEOUT * 2 / 3).await;
                reader.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&BYTES), reads);
        written.unwrap();
    }
}
