//! The wall clock, by which tokens expire.
//!
//! Due times are kept as wall-clock times and not as timers: a timer does not run while a machine
//! is suspended, and does not follow a clock that is set.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// How late a step of the clock, or a machine's waking up, may be noticed.
const RECHECK: Duration = Duration::from_secs(5);

/// A clock that goes back by less is corrected, not set: all times here have more slack than that.
const SLACK: SignedDuration = SignedDuration::from_secs(30);

/// The system's clock, which a test can turn.
#[derive(Clone, Debug)]
pub struct Clock {
    offset: watch::Sender<SignedDuration>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { offset: watch::Sender::new(SignedDuration::ZERO) }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(*self.offset.borrow()).unwrap_or(Timestamp::MAX)
    }

    /// Turns the clock for everyone who holds it, as an administrator would.
    pub fn turn(&self, by: SignedDuration) {
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Waits until it is `time`, however the clock gets there.
    pub async fn sleep_until(&self, time: Timestamp) {
        let mut turned = self.offset.subscribe();
        loop {
            let rest = time.duration_since(self.now());
            if !rest.is_positive() {
                return;
            }
            nap(&mut turned, rest.unsigned_abs().min(RECHECK)).await;
        }
    }

    /// Waits until the clock is set back, and says by how much.
    pub async fn set_back(&self) -> SignedDuration {
        let mut turned = self.offset.subscribe();
        let (mut before, mut since) = (self.now(), Instant::now());
        loop {
            nap(&mut turned, RECHECK).await;
            let passed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
            let back = passed.saturating_sub(self.now().duration_since(before));
            if back > SLACK {
                return back;
            }
            (before, since) = (self.now(), Instant::now());
        }
    }
}

/// Waits for so long, or until the clock is turned.
async fn nap(turned: &mut watch::Receiver<SignedDuration>, time: Duration) {
    // Whoever waits holds the clock, so `changed` can't end with an error.
    let _ = tokio::time::timeout(time, turned.changed()).await;
}

/// The time that is so much after `now`.
pub fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Times in Kubernetes' objects are whole seconds; others would not read back equal.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_turned() {
        let clock = Clock::system();
        let tomorrow = clock.now().saturating_add(SignedDuration::from_hours(24)).unwrap();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(tomorrow).await }
        });
        clock.turn(SignedDuration::from_hours(25));
        sleeper.await.unwrap();
        assert!(clock.now() > tomorrow);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_is_noticed_and_one_that_is_set_forward_is_none() {
        let clock = Clock::system();
        let mut watched = std::pin::pin!(clock.set_back());
        assert!(watched.as_mut().now_or_never().is_none());
        clock.turn(SignedDuration::from_hours(3));
        assert!(watched.as_mut().now_or_never().is_none());
        clock.turn(SignedDuration::from_hours(-2));
        assert_eq!(watched.await.as_secs_f64().round(), 7200.0);
    }
}
