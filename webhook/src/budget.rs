//! How much of what callers send may be in memory at a time.
//!
//! Pods come by the thousand, and whoever reaches the port may send anything: what is held must
//! depend on neither. Who finds no room waits; the API server's own flow control does the rest.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The largest review that is read, in bytes. The API server stores objects of at most 1.5 MiB; a
/// review has two, and its own text.
pub const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// In KiB: some of the largest bodies, or hundreds as they usually are.
const TOTAL: usize = 32 * 1024;

/// Room for bodies.
pub struct Budget(Semaphore);

/// Room for one body, until this is dropped.
pub type Room<'a> = SemaphorePermit<'a>;

impl Default for Budget {
    fn default() -> Self {
        Self(Semaphore::new(TOTAL))
    }
}

impl Budget {
    /// Waits for room for a body of so many bytes: of the limit, where it does not say.
    pub async fn room(&self, bytes: Option<usize>) -> Option<Room<'_>> {
        let bytes = bytes.unwrap_or(BODY_LIMIT).min(BODY_LIMIT);
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        // Never closed.
        self.0.acquire_many(kib).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn who_does_not_say_how_much_takes_the_most() {
        let budget = Budget::default();
        let rooms: Vec<_> = (0..4).map(|_| budget.room(None).now_or_never().flatten().unwrap()).collect();
        assert!(budget.room(None).now_or_never().is_none());
        assert!(budget.room(Some(usize::MAX)).now_or_never().is_none(), "no more than the limit is read");
        let small: Vec<_> =
            (0..40).map(|_| budget.room(Some(100_000)).now_or_never().flatten().unwrap()).collect();
        assert!(budget.room(Some(200_000)).now_or_never().is_none());
        drop((rooms, small));
        assert!(budget.room(None).now_or_never().flatten().is_some());
    }
}
