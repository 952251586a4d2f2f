//! The right to write, which expires.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Interval at which waiters recheck the clocks: timers stop while the machine is suspended.
const RECHECK: Duration = Duration::from_secs(1);

/// A point in time, by both clocks.
///
/// The monotonic clock stops while Linux is suspended, and the wall clock can be set back. Durations use the
/// clock that shows more time has passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        self.monotonic.saturating_duration_since(earlier.monotonic).max(wall)
    }
}

/// A period in which the lease is held, including renewals.
#[derive(Clone, Copy, Debug, Default)]
struct Term {
    number: u64,
    /// When the last renewal was sent, and how long it is valid.
    renewed: Option<(Moment, Duration)>,
}

impl Term {
    fn left(&self, now: Moment) -> Option<Duration> {
        let (sent, length) = self.renewed?;
        length.checked_sub(now.since(sent)).filter(|left| !left.is_zero())
    }
}

/// The right to write, while the lease is held.
///
/// Whether it is open depends only on the clocks, and not on a task: a process that was frozen until its lease expired
/// finds the fence closed when it resumes.
#[derive(Clone, Debug)]
pub struct Fence {
    term: watch::Sender<Term>,
}

impl Fence {
    /// A fence that never closes: without leader election, and in tests.
    pub fn always_open() -> Self {
        Self { term: watch::Sender::new(Term { number: 0, renewed: Some((Moment::now(), Duration::MAX)) }) }
    }

    /// A fence that is closed until [`hold`](super::hold) opens it.
    pub fn initially_closed() -> Self {
        Self { term: watch::Sender::new(Term::default()) }
    }

    /// Whether this process may write.
    pub fn is_open(&self) -> bool {
        self.term.borrow().left(Moment::now()).is_some()
    }

    /// Waits until this process may write.
    pub async fn opened(&self) {
        let mut changes = self.term.subscribe();
        while !self.is_open() {
            // The sender lives as long as `self`, so `changed` can't end with an error.
            let _ = changes.changed().await;
        }
    }

    /// Waits until the current term ends, even if a new term begins immediately: work that a term began must
    /// not continue in the next.
    pub async fn closed(&self) {
        self.ended(self.term()).await;
    }

    pub(super) fn term(&self) -> u64 {
        self.term.borrow().number
    }

    /// Time until the term ends; `None` if it has ended.
    pub(super) fn left(&self, term: u64) -> Option<Duration> {
        let current = *self.term.borrow();
        current.left(Moment::now()).filter(|_| current.number == term)
    }

    pub(super) async fn ended(&self, term: u64) {
        let mut changes = self.term.subscribe();
        while let Some(left) = self.left(term) {
            let _ = timeout(left.min(RECHECK), changes.changed()).await;
        }
    }

    /// Opens the fence, or keeps it open, until `length` after `sent`.
    pub(super) fn extend(&self, sent: Moment, length: Duration) {
        self.term.send_modify(|term| {
            if term.left(Moment::now()).is_none() {
                term.number += 1;
            }
            term.renewed = Some((sent, length));
        });
    }

    pub(super) fn close(&self) {
        self.term.send_modify(|term| term.renewed = None);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use futures::FutureExt;
    use rstest::rstest;
    use tokio::time::advance;

    pub const LENGTH: Duration = Duration::from_secs(12);

    pub fn opened() -> Fence {
        let fence = Fence::initially_closed();
        fence.extend(Moment::now(), LENGTH);
        fence
    }

    /// Advances the clock while no task runs, as for a frozen process.
    fn freeze(by: Duration) {
        advance(by).now_or_never();
    }

    #[rstest]
    #[case::just_sent(0, 0, true)]
    #[case::before_the_end(11, 11, true)]
    #[case::at_the_end(12, 12, false)]
    #[case::suspended(1, 60, false)]
    #[case::clock_set_back(1, -3600, true)]
    #[case::clock_set_back_at_the_end(12, -3600, false)]
    #[tokio::test(start_paused = true)]
    async fn term_ends_when_either_clock_passes_its_end(
        #[case] monotonic: u64,
        #[case] wall: i64,
        #[case] open: bool,
    ) {
        let sent = Moment::now();
        let shift = Duration::from_secs(wall.unsigned_abs());
        let now = Moment {
            monotonic: sent.monotonic + Duration::from_secs(monotonic),
            wall: if wall < 0 { sent.wall - shift } else { sent.wall + shift },
        };
        let term = Term { number: 1, renewed: Some((sent, LENGTH)) };
        assert_eq!(term.left(now).is_some(), open);
    }

    #[tokio::test(start_paused = true)]
    async fn fence_is_closed_after_a_freeze() {
        let fence = opened();
        assert!(fence.is_open());
        freeze(LENGTH);
        assert!(!fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_wake_when_the_term_expires() {
        let fence = opened();
        let start = Instant::now();
        fence.closed().await;
        assert!(start.elapsed() >= LENGTH && start.elapsed() < LENGTH + RECHECK);
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_extends_a_term_but_does_not_revive_it() {
        let fence = opened();
        let term = fence.term();
        freeze(LENGTH / 2);
        fence.extend(Moment::now(), LENGTH);
        assert!(fence.left(term).is_some_and(|left| left > LENGTH / 2));
        freeze(LENGTH);
        fence.extend(Moment::now(), LENGTH);
        assert!(fence.is_open());
        assert_eq!(fence.left(term), None);
    }

    #[tokio::test(start_paused = true)]
    async fn late_renewal_does_not_open_the_fence() {
        let sent = Moment::now();
        freeze(LENGTH);
        let fence = Fence::initially_closed();
        fence.extend(sent, LENGTH);
        assert!(!fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn always_open_fence_never_closes() {
        let fence = Fence::always_open();
        freeze(Duration::from_secs(3_000_000));
        assert!(fence.is_open());
        assert!(fence.closed().now_or_never().is_none());
        fence.opened().await;
    }
}
