//! Limits the rate of writes to an object, in case another client keeps reverting them.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two writes.
const PAUSE: Duration = Duration::from_millis(500);

/// Number of writes in a row without longer pauses: enough for rotations and a few edits. After them, each pause is
/// twice the previous one.
const BURST: u32 = 20;

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
        let doublings = 1_u32.checked_shl(self.writes.saturating_sub(BURST)).unwrap_or(u32::MAX);
        let pause = PAUSE.saturating_mul(doublings).min(MAX_PAUSE);
        self.last
            .map(|last| pause.saturating_sub(instant.duration_since(last)))
            .filter(|wait| !wait.is_zero())
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
    fn second_write_waits() {
        let (start, mut rate_limit) = (Instant::now(), RateLimit::default());
        assert_eq!(rate_limit.wait(start), None);
        rate_limit.record_write(start);
        assert_eq!(rate_limit.wait(start), Some(PAUSE));
        assert_eq!(rate_limit.wait(start + PAUSE / 4), Some(PAUSE * 3 / 4));
        assert_eq!(rate_limit.wait(start + PAUSE), None);
    }

    #[test]
    fn pauses_grow_after_a_burst() {
        let (start, mut rate_limit) = (Instant::now(), RateLimit::default());
        let mut waits = Vec::new();
        for _ in 0..100 {
            rate_limit.record_write(start);
            waits.extend(rate_limit.wait(start));
        }
        assert!(waits[..20].iter().all(|wait| *wait == PAUSE));
        assert_eq!(waits[20..23], [PAUSE * 2, PAUSE * 4, PAUSE * 8]);
        assert_eq!(waits[99], MAX_PAUSE);
        rate_limit.record_write(start + RESET_AFTER * 2);
        assert_eq!(rate_limit.wait(start + RESET_AFTER * 2), Some(PAUSE));
    }
}
