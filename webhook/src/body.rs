//! Limits the memory of requests and responses.
//!
//! Any number of clients may send any amount of data. Only received bytes count, not the Content-Length: a client that
//! announces much and sends nothing blocks no other.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::pod::MAX_ITEM_SIZE;

/// Largest body, in bytes. An object has at most 1.5 MiB; a review contains two.
pub(crate) const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// Bytes that all requests share: two of the largest, or several hundred typical ones.
const TOTAL: usize = 16 * 1024 * 1024;

/// Bytes that each connection has for itself: enough for most reviews, even if strangers use up what all share.
const CONNECTION_SHARE: usize = 96 * 1024;

/// Bytes that are acquired at once. No more than a part of a connection's share, so that a small request does not wait
/// behind a large one.
const STEP: usize = 16 * 1024;

/// Bytes of a response that are buffered at once while its client does not read.
const CHUNK: usize = 4 * 1024;

/// Longest time to receive a body, including the wait for the budget. The API server waits 5 s for the response,
/// and imports may have to be looked up.
const DEADLINE: Duration = Duration::from_secs(2);

/// The memory that all requests share. One permit is one byte.
pub(crate) struct BodyBudget(Arc<Semaphore>);

/// The memory that the requests of a connection have for themselves. Clones share it.
#[derive(Clone)]
pub(crate) struct ConnectionShare(Arc<Semaphore>);

/// A body and its memory.
pub(crate) struct BufferedBody {
    bytes: Vec<u8>,
    memory: Memory,
}

/// The memory of a request, and then of its response. Released when dropped.
pub(crate) struct Memory {
    shared: Arc<Semaphore>,
    own: Arc<Semaphore>,
    held: [Option<OwnedSemaphorePermit>; 2],
}

/// A response in chunks, and its memory.
struct ResponseBody {
    rest: Bytes,
    _memory: Memory,
}

/// A body was not read to its end, or a response can't be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("request body exceeds {} MiB", BODY_LIMIT >> 20)]
    TooLong,
    #[error("request body has {objects} objects, of which it may have {}", TOTAL / MAX_ITEM_SIZE)]
    TooManyObjects { objects: usize },
    /// Not received in time, or the budget was exhausted.
    #[error("request body not received in time")]
    Timeout,
    #[error("client aborted the request body")]
    Aborted,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL)))
    }
}

impl Default for ConnectionShare {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTION_SHARE)))
    }
}

impl BodyBudget {
    /// Reads a body, waiting for memory as data arrives. Also acquires the memory that parsing takes.
    pub(crate) async fn read(&self, share: &ConnectionShare, body: Body) -> Result<BufferedBody, BodyError> {
        let memory = Memory { shared: self.0.clone(), own: share.0.clone(), held: [None, None] };
        let deadline = Instant::now() + DEADLINE;
        timeout_at(deadline, memory.collect(body)).await.unwrap_or(Err(BodyError::Timeout))
    }
}

impl Memory {
    async fn collect(mut self, mut body: Body) -> Result<BufferedBody, BodyError> {
        let announced = body.size_hint().lower();
        if announced > BODY_LIMIT as u64 {
            return Err(BodyError::TooLong);
        }
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            // Ignore trailers.
            let Ok(data) = frame.map_err(|_| BodyError::Aborted)?.into_data() else { continue };
            if bytes.len() + data.len() > BODY_LIMIT {
                return Err(BodyError::TooLong);
            }
            self.grow(data.len()).await;
            if bytes.capacity() - bytes.len() < data.len() {
                // Doubling the buffer, as `extend_from_slice` does, would take memory that does not count.
                bytes.reserve_exact(data.len().max(bytes.len() / 8));
            }
            bytes.extend_from_slice(&data);
        }
        let objects = bytes.iter().filter(|&&byte| byte == b'{').count();
        if objects > TOTAL / MAX_ITEM_SIZE {
            return Err(BodyError::TooManyObjects { objects });
        }
        self.grow(objects * MAX_ITEM_SIZE).await;
        Ok(BufferedBody { bytes, memory: self })
    }

    /// Acquires more memory: the connection's own if it has enough, or else what all share.
    async fn grow(&mut self, bytes: usize) {
        let mut rest = bytes;
        while rest > 0 {
            let step = rest.min(STEP);
            // Neither fails: a step is small, and the semaphores are never closed.
            let permits = step as u32;
            let (index, permit) = tokio::select! {
                biased;
                permit = self.own.clone().acquire_many_owned(permits) => (0, permit),
                permit = self.shared.clone().acquire_many_owned(permits) => (1, permit),
            };
            let Ok(permit) = permit else { return };
            match &mut self.held[index] {
                Some(held) => held.merge(permit),
                none => *none = Some(permit),
            }
            rest -= step;
        }
    }

    /// The body of a response, which takes over the memory of its request.
    ///
    /// # Errors
    /// If the response needs more memory than its request, and does not get it in time.
    pub(crate) async fn respond(mut self, response: Vec<u8>) -> Result<Body, BodyError> {
        let held: usize = self.held.iter().flatten().map(OwnedSemaphorePermit::num_permits).sum();
        let growth = self.grow(response.len().saturating_sub(held));
        timeout_at(Instant::now() + DEADLINE, growth).await.map_err(|_| BodyError::Timeout)?;
        Ok(Body::new(ResponseBody { rest: response.into(), _memory: self }))
    }
}

impl BufferedBody {
    /// The memory of the body, which is dropped.
    pub(crate) fn into_memory(self) -> Memory {
        self.memory
    }
}

impl Deref for BufferedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let length = self.rest.len().min(CHUNK);
        let chunk = self.rest.split_to(length);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt, stream};
    use std::convert::Infallible;

    /// A body of `length` bytes in frames; if not `ends`, it stays open.
    fn body(length: usize, ends: bool) -> Body {
        let piece = |_| Ok::<_, Infallible>(vec![b' '; 1024]);
        let pieces = stream::iter(0..length / 1024).map(piece);
        if ends { Body::from_stream(pieces) } else { Body::from_stream(pieces.chain(stream::pending())) }
    }

    impl BodyBudget {
        /// Reads a body of a new connection.
        async fn read_new(&self, body: Body) -> Result<BufferedBody, BodyError> {
            self.read(&ConnectionShare::default(), body).await
        }
    }

    #[tokio::test]
    async fn body_is_read_up_to_the_limit() {
        let budget = BodyBudget::default();
        assert_eq!(budget.read_new(body(BODY_LIMIT, true)).await.unwrap().len(), BODY_LIMIT);
        assert!(matches!(budget.read_new(body(BODY_LIMIT + 1024, true)).await, Err(BodyError::TooLong)));
        assert!(matches!(budget.read_new(body(BODY_LIMIT + 1024, false)).await, Err(BodyError::TooLong)));
        let long = Body::from(vec![b' '; BODY_LIMIT + 1]);
        assert!(matches!(budget.read_new(long).await, Err(BodyError::TooLong)));
        assert_eq!(budget.0.available_permits(), TOTAL, "all permits are returned");
    }

    #[tokio::test]
    async fn announced_bytes_do_not_use_the_budget() {
        let budget = BodyBudget::default();
        let slow: Vec<_> = (0..1000).map(|_| Box::pin(budget.read_new(body(1024, false)))).collect();
        let mut slow = futures::future::join_all(slow);
        assert!((&mut slow).now_or_never().is_none());
        assert!(budget.0.available_permits() == TOTAL);
        assert_eq!(budget.read_new(body(BODY_LIMIT, true)).await.unwrap().len(), BODY_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn incomplete_body_times_out() {
        assert!(matches!(BodyBudget::default().read_new(body(1024, false)).await, Err(BodyError::Timeout)));
    }

    #[tokio::test]
    async fn body_waits_for_an_exhausted_budget() {
        let budget = BodyBudget::default();
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(budget.read_new(body(BODY_LIMIT, true)).await.unwrap());
        }
        let mut late = Box::pin(budget.read_new(body(BODY_LIMIT, true)));
        for _ in 0..1000 {
            assert!((&mut late).now_or_never().is_none());
        }
        held.clear();
        assert_eq!(late.await.unwrap().len(), BODY_LIMIT);
    }

    #[tokio::test]
    async fn typical_body_needs_nothing_of_an_exhausted_budget() {
        let budget = BodyBudget::default();
        let _others = budget.0.clone().acquire_many_owned(TOTAL as u32).await.unwrap();
        let share = ConnectionShare::default();
        let body = async |length| budget.read(&share, Body::from(vec![b' '; length])).now_or_never();
        let memory = body(48 * 1024).await.unwrap().unwrap().into_memory();
        let response = memory.respond(vec![b' '; 64 * 1024]).now_or_never().unwrap().unwrap();
        assert!(body(48 * 1024).await.is_none(), "the response is not sent yet");
        assert_eq!(response.collect().await.unwrap().to_bytes().len(), 64 * 1024);
        assert!(body(48 * 1024).await.is_some());
    }

    #[tokio::test]
    async fn objects_count() {
        let budget = BodyBudget::default();
        let body = budget.read_new(Body::from("{".repeat(10_000))).await.unwrap();
        assert!(TOTAL - budget.0.available_permits() > 10_000 * MAX_ITEM_SIZE - CONNECTION_SHARE);
        drop(body);
        assert_eq!(budget.0.available_permits(), TOTAL);
        let result = budget.read_new(Body::from("{".repeat(BODY_LIMIT))).await;
        assert!(matches!(result, Err(BodyError::TooManyObjects { objects: BODY_LIMIT })));
    }
}
