//! The least time between two writes of the same thing: someone else who also insists does not make
//! us spin.

use std::time::Duration;

use tokio::time::Instant;

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(500);

/// So many writes in a row are what rotations and a few edits take. After them, each pause is twice
/// as long as the one before.
const USUAL: u32 = 20;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);

/// After such a time without a write, all is as at first.
const QUIET: Duration = Duration::from_secs(900);

/// When the last write was, and how many there were in a row.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<Instant>,
    writes: u32,
}

impl Pace {
    /// How long the next write has to wait, if it has to.
    pub(crate) fn wait(&self, clock: Instant) -> Option<Duration> {
        let doublings = 1_u32.checked_shl(self.writes.saturating_sub(USUAL)).unwrap_or(u32::MAX);
        let pause = PAUSE.saturating_mul(doublings).min(LONGEST);
        self.last.map(|last| pause.saturating_sub(clock.duration_since(last))).filter(|wait| !wait.is_zero())
    }

    /// Something is being written.
    pub(crate) fn write(&mut self, clock: Instant) {
        if self.last.is_some_and(|last| clock.duration_since(last) > QUIET) {
            self.writes = 0;
        }
        (self.last, self.writes) = (Some(clock), self.writes.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_keep_their_distance() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        assert_eq!(pace.wait(start), None);
        pace.write(start);
        assert_eq!(pace.wait(start), Some(PAUSE));
        assert_eq!(pace.wait(start + PAUSE / 4), Some(PAUSE * 3 / 4));
        assert_eq!(pace.wait(start + PAUSE), None);
    }

    #[test]
    fn who_insists_for_long_is_answered_ever_later() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let mut waits = Vec::new();
        for _ in 0..100 {
            pace.write(start);
            waits.extend(pace.wait(start));
        }
        assert!(waits[..20].iter().all(|wait| *wait == PAUSE));
        assert_eq!(waits[20..23], [PAUSE * 2, PAUSE * 4, PAUSE * 8]);
        assert_eq!(waits[99], LONGEST);
        pace.write(start + QUIET * 2);
        assert_eq!(pace.wait(start + QUIET * 2), Some(PAUSE));
    }
}
