//! Reads request bodies within a memory budget.
//!
//! Any number of clients may send any amount of data. Only received bytes count towards the budget, not the
//! Content-Length: a client that announces much and sends nothing blocks no other.

use std::ops::Deref;
use std::time::Duration;

use axum::body::Body;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Largest body, in bytes. An object has at most 1.5 MiB; a review contains two.
pub(crate) const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// Total of all bodies, in bytes: four of the largest, or a thousand typical ones.
const TOTAL: usize = 32 * 1024 * 1024;

/// Initial buffer, in bytes: the size of most reviews.
const TYPICAL_LENGTH: u64 = 32 * 1024;

/// Longest time to receive a body, including the wait for the budget. The API server waits 5 s for the response,
/// and imports may have to be looked up.
const DEADLINE: Duration = Duration::from_secs(2);

/// Permits for all bytes that bodies may occupy.
pub(crate) struct BodyBudget(Semaphore);

/// A body and its share of the budget.
#[derive(Debug, Default)]
pub(crate) struct BufferedBody<'a> {
    bytes: Vec<u8>,
    permit: Option<SemaphorePermit<'a>>,
}

/// The body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("request body exceeds {} MiB", BODY_LIMIT >> 20)]
    TooLong,
    /// Not received in time, or the budget was exhausted.
    #[error("request body not received in time")]
    Timeout,
    #[error("client aborted the request body")]
    Aborted,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Semaphore::new(TOTAL))
    }
}

impl BodyBudget {
    /// Reads a body, waiting for the budget as data arrives.
    pub(crate) async fn read(&self, body: Body) -> Result<BufferedBody<'_>, BodyError> {
        timeout(DEADLINE, self.collect(body)).await.unwrap_or(Err(BodyError::Timeout))
    }

    async fn collect(&self, mut body: Body) -> Result<BufferedBody<'_>, BodyError> {
        let announced = body.size_hint().lower();
        if announced > BODY_LIMIT as u64 {
            return Err(BodyError::TooLong);
        }
        let mut buffer =
            BufferedBody { bytes: Vec::with_capacity(announced.min(TYPICAL_LENGTH) as usize), permit: None };
        while let Some(frame) = body.frame().await {
            // Ignore trailers.
            let Ok(data) = frame.map_err(|_| BodyError::Aborted)?.into_data() else { continue };
            if buffer.bytes.len() + data.len() > BODY_LIMIT {
                return Err(BodyError::TooLong);
            }
            // Neither fails: a frame is shorter than BODY_LIMIT, and the semaphore is never closed.
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let permit = self.0.acquire_many(length).await.map_err(|_| BodyError::Aborted)?;
            match &mut buffer.permit {
                Some(held) => held.merge(permit),
                none => *none = Some(permit),
            }
            buffer.bytes.extend_from_slice(&data);
        }
        Ok(buffer)
    }
}

impl Deref for BufferedBody<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
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

    #[tokio::test]
    async fn body_is_read_up_to_the_limit() {
        let budget = BodyBudget::default();
        assert_eq!(budget.read(body(BODY_LIMIT, true)).await.unwrap().len(), BODY_LIMIT);
        assert!(matches!(budget.read(body(BODY_LIMIT + 1024, true)).await, Err(BodyError::TooLong)));
        assert!(matches!(budget.read(body(BODY_LIMIT + 1024, false)).await, Err(BodyError::TooLong)));
        let long = Body::from(vec![b' '; BODY_LIMIT + 1]);
        assert!(matches!(budget.read(long).await, Err(BodyError::TooLong)));
        assert_eq!(budget.0.available_permits(), TOTAL, "all permits are returned");
    }

    #[tokio::test]
    async fn announced_bytes_do_not_use_the_budget() {
        let budget = BodyBudget::default();
        let slow: Vec<_> = (0..1000).map(|_| Box::pin(budget.read(body(1024, false)))).collect();
        let mut slow = futures::future::join_all(slow);
        assert!((&mut slow).now_or_never().is_none());
        assert!(budget.0.available_permits() >= TOTAL - 1000 * 1024);
        assert_eq!(budget.read(body(BODY_LIMIT, true)).await.unwrap().len(), BODY_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn incomplete_body_times_out() {
        assert!(matches!(BodyBudget::default().read(body(1024, false)).await, Err(BodyError::Timeout)));
    }

    #[tokio::test]
    async fn body_waits_for_an_exhausted_budget() {
        let budget = BodyBudget::default();
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(budget.read(body(BODY_LIMIT, true)).await.unwrap());
        }
        let mut late = Box::pin(budget.read(body(BODY_LIMIT, true)));
        for _ in 0..1000 {
            assert!((&mut late).now_or_never().is_none());
        }
        held.clear();
        assert_eq!(late.await.unwrap().len(), BODY_LIMIT);
    }
}
