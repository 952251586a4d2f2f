//! Limits the rate of writes to an object, in case another client keeps reverting them.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two writes, for each write in a row.
const PAUSE: Duration = Duration::from_millis(250);

const MAX_PAUSE: Duration = Duration::from_secs(300);

/// After this long without a write, the limit is reset.
const RESET_AFTER: Duration = Duration::from_secs(900);

/// Time of the last write, and the number of writes in a row.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    last: Option<Instant>,
    writes: u32,
}

impl RateLimit {
    /// Time until the next write is allowed; `None` if it is allowed now.
    pub(crate) fn wait(&self, instant: Instant) -> Option<Duration> {
        let pause = PAUSE.saturating_mul(self.writes).min(MAX_PAUSE);
        let wait = pause.saturating_sub(instant.duration_since(self.last?));
        (!wait.is_zero()).then_some(wait)
    }

    pub(crate) fn record_write(&mut self, instant: Instant) {
        if self.last.is_some_and(|last| instant.duration_since(last) > RESET_AFTER) {
            self.writes = 0;
        }
        (self.last, self.writes) = (Some(instant), self.writes.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_each_write() {
        let (start, mut rate_limit) = (Instant::now(), RateLimit::default());
        assert_eq!(rate_limit.wait(start), None);
        rate_limit.record_write(start);
        assert_eq!(rate_limit.wait(start + PAUSE / 4), Some(PAUSE * 3 / 4));
        assert_eq!(rate_limit.wait(start + PAUSE), None);
        rate_limit.record_write(start + PAUSE);
        assert_eq!(rate_limit.wait(start + PAUSE), Some(PAUSE * 2));
        for _ in 0..2000 {
            rate_limit.record_write(start + PAUSE);
        }
        assert_eq!(rate_limit.wait(start + PAUSE), Some(MAX_PAUSE));
        rate_limit.record_write(start + RESET_AFTER * 2);
        assert_eq!(rate_limit.wait(start + RESET_AFTER * 2), Some(PAUSE));
    }
}
