//! Numbers TCP connections, so that a caller can tell whether two responses arrived over the same one. Addresses don't
//! show that: the operating system reuses ports.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tower::Service;

/// The number of the next connection of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number of the connection that a response arrived over, in the response's extensions. Never 0, and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionNumber(pub u64);

/// Opens numbered TCP connections.
#[derive(Clone)]
pub(super) struct NumberedConnector(HttpConnector);

impl NumberedConnector {
    pub(super) fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        Self(http)
    }
}

impl Service<Uri> for NumberedConnector {
    type Response = NumberedStream;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = BoxFuture<'static, Result<NumberedStream, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let connecting = self.0.call(address);
        Box::pin(async move {
            let number = ConnectionNumber(NEXT.fetch_add(1, Ordering::Relaxed));
            Ok(NumberedStream { stream: connecting.await?, number })
        })
    }
}

/// A numbered TCP connection.
pub(super) struct NumberedStream {
    stream: <HttpConnector as Service<Uri>>::Response,
    number: ConnectionNumber,
}

impl Connection for NumberedStream {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.number)
    }
}

impl Read for NumberedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for NumberedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }
}
