//! How much of what callers send may be in memory at a time.
//!
//! Pods come by the thousand, and whoever reaches the port may send anything: what is held must
//! depend on neither. Room is taken for what has come, not for what a caller says will come: one who
//! says much and sends nothing keeps nobody waiting.

use std::ops::Deref;
use std::time::Duration;

use axum::body::Body;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// The largest review that is read, in bytes. The API server stores objects of at most 1.5 MiB; a
/// review has two, and its own text.
pub(crate) const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// In bytes: some of the largest bodies, or a thousand as they usually are.
const TOTAL: usize = 32 * 1024 * 1024;

/// As much as most reviews are, made room for at once.
const USUAL: u64 = 32 * 1024;

/// How long a body may take to come, waiting for room included. The API server waits 5 s for our
/// answer, and imports may have to be looked up.
const DEADLINE: Duration = Duration::from_secs(2);

/// Room for bodies.
pub(crate) struct Budget(Semaphore);

/// A body, and the room that it takes.
#[derive(Debug, Default)]
pub(crate) struct Held<'a> {
    bytes: Vec<u8>,
    room: Option<SemaphorePermit<'a>>,
}

/// A body that is not read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// It is too long.
    #[error("the body is longer than {} MiB", BODY_LIMIT >> 20)]
    TooLong,
    /// It has not come in time, or there was no room for it.
    #[error("the body did not come in time")]
    Late,
    /// The caller broke off.
    #[error("the body broke off")]
    BrokeOff,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Semaphore::new(TOTAL))
    }
}

impl Budget {
    /// Reads a body, waiting for room as it comes.
    ///
    /// # Errors
    /// When it is too long, or does not come.
    pub(crate) async fn read(&self, body: Body) -> Result<Held<'_>, Unread> {
        timeout(DEADLINE, self.collect(body)).await.unwrap_or(Err(Unread::Late))
    }

    async fn collect(&self, mut body: Body) -> Result<Held<'_>, Unread> {
        let said = body.size_hint().lower();
        if said > BODY_LIMIT as u64 {
            return Err(Unread::TooLong);
        }
        let mut held = Held { bytes: Vec::with_capacity(said.min(USUAL) as usize), room: None };
        while let Some(frame) = body.frame().await {
            // What follows a body says nothing to us.
            let Ok(data) = frame.map_err(|_| Unread::BrokeOff)?.into_data() else { continue };
            if held.bytes.len() + data.len() > BODY_LIMIT {
                return Err(Unread::TooLong);
            }
            // Never closed, and never so much.
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let room = self.0.acquire_many(length).await.map_err(|_| Unread::BrokeOff)?;
            match &mut held.room {
                Some(taken) => taken.merge(room),
                none => *none = Some(room),
            }
            held.bytes.extend_from_slice(&data);
        }
        Ok(held)
    }
}

impl Deref for Held<'_> {
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

    /// A body of `length` bytes in pieces, that ends, or that never does.
    fn body(length: usize, ends: bool) -> Body {
        let piece = |_| Ok::<_, Infallible>(vec![b' '; 1024]);
        let pieces = stream::iter(0..length / 1024).map(piece);
        if ends { Body::from_stream(pieces) } else { Body::from_stream(pieces.chain(stream::pending())) }
    }

    #[tokio::test]
    async fn a_body_is_read_to_the_limit() {
        let budget = Budget::default();
        assert_eq!(budget.read(body(BODY_LIMIT, true)).await.unwrap().len(), BODY_LIMIT);
        assert!(matches!(budget.read(body(BODY_LIMIT + 1024, true)).await, Err(Unread::TooLong)));
        assert!(matches!(budget.read(body(BODY_LIMIT + 1024, false)).await, Err(Unread::TooLong)));
        let said = Body::from(vec![b' '; BODY_LIMIT + 1]);
        assert!(matches!(budget.read(said).await, Err(Unread::TooLong)));
        assert_eq!(budget.0.available_permits(), TOTAL, "room that was taken is given back");
    }

    #[tokio::test]
    async fn what_has_not_come_takes_no_room() {
        let budget = Budget::default();
        let slow: Vec<_> = (0..1000).map(|_| Box::pin(budget.read(body(1024, false)))).collect();
        let mut slow = futures::future::join_all(slow);
        assert!((&mut slow).now_or_never().is_none());
        assert!(budget.0.available_permits() >= TOTAL - 1000 * 1024);
        assert_eq!(budget.read(body(BODY_LIMIT, true)).await.unwrap().len(), BODY_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_not_waited_for() {
        assert!(matches!(Budget::default().read(body(1024, false)).await, Err(Unread::Late)));
    }

    #[tokio::test]
    async fn who_finds_no_room_waits() {
        let budget = Budget::default();
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
