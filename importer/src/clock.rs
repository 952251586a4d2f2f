//! The wall clock.
//!
//! Due times are wall-clock times, because tokens expire by the wall clock. A timer would stop while the machine is
//! suspended, and would ignore that the clock was set.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// How late a clock step or a resume after suspension may be noticed.
const RECHECK: Duration = Duration::from_secs(5);

/// Smaller steps back are ordinary corrections, and shorter than all margins of due times.
const SLACK: SignedDuration = SignedDuration::from_secs(30);

/// The system's clock, with an offset that tests can change.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: watch::Sender<SignedDuration>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { offset: watch::Sender::new(SignedDuration::ZERO) }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(*self.offset.borrow()).unwrap_or(Timestamp::MAX)
    }

    /// Advances the time of all clones of this clock. A negative duration moves it back.
    pub fn advance(&self, by: SignedDuration) {
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Waits until `time`, even if the clock is advanced meanwhile.
    pub async fn sleep_until(&self, time: Timestamp) {
        let mut advanced = self.offset.subscribe();
        loop {
            let rest = time.duration_since(self.now());
            if !rest.is_positive() {
                return;
            }
            sleep_unless_advanced(&mut advanced, rest.unsigned_abs().min(RECHECK)).await;
        }
    }

    /// Waits until the clock is set back; returns by how much.
    pub async fn wait_until_set_back(&self) -> SignedDuration {
        let mut advanced = self.offset.subscribe();
        let (mut before, mut since) = (self.now(), Instant::now());
        loop {
            sleep_unless_advanced(&mut advanced, RECHECK).await;
            let passed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
            let back = passed.saturating_sub(self.now().duration_since(before));
            if back > SLACK {
                return back;
            }
            (before, since) = (self.now(), Instant::now());
        }
    }
}

/// Sleeps for `time`, or until the offset changes.
async fn sleep_unless_advanced(advanced: &mut watch::Receiver<SignedDuration>, time: Duration) {
    // The caller holds the sender, so `changed` can't fail.
    let _ = tokio::time::timeout(time, advanced.changed()).await;
}

/// `now + wait`, saturating.
pub fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Truncates to whole seconds, as Kubernetes stores times: otherwise, a time would change when it is read back.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn sleep_ends_when_the_clock_is_advanced() {
        let clock = Clock::system();
        let tomorrow = clock.now().saturating_add(SignedDuration::from_hours(24)).unwrap();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(tomorrow).await }
        });
        clock.advance(SignedDuration::from_hours(25));
        sleeper.await.unwrap();
        assert!(clock.now() > tomorrow);
    }

    #[tokio::test]
    async fn only_a_clock_set_back_is_reported() {
        let clock = Clock::system();
        let mut watched = std::pin::pin!(clock.wait_until_set_back());
        assert!(watched.as_mut().now_or_never().is_none());
        clock.advance(SignedDuration::from_hours(3));
        assert!(watched.as_mut().now_or_never().is_none());
        clock.advance(SignedDuration::from_hours(-2));
        assert_eq!(watched.await.as_secs_f64().round(), 7200.0);
    }
}
