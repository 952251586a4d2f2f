//! The wall clock.
//!
//! Due times are wall-clock times: a timer stops while a machine is suspended and ignores changes of the
//! clock, but tokens expire all the same.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// How late a clock step or a resume after suspension may be noticed.
const RECHECK: Duration = Duration::from_secs(5);

/// Smaller steps back are ordinary corrections; every margin here is larger.
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

    /// Changes the time for all clones of this clock.
    pub fn turn(&self, by: SignedDuration) {
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Waits until `time`, even if the clock is set meanwhile.
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

    /// Waits until the clock is set back; returns by how much.
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

/// Sleeps, or until the offset changes.
async fn nap(turned: &mut watch::Receiver<SignedDuration>, time: Duration) {
    // The caller holds the sender, so `changed` can't fail.
    let _ = tokio::time::timeout(time, turned.changed()).await;
}

/// `now + wait`, saturating.
pub fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Kubernetes stores whole seconds; a time with a fraction would not read back equal.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn sleep_ends_when_the_clock_is_set_forward() {
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
    async fn only_a_step_back_is_reported() {
        let clock = Clock::system();
        let mut watched = std::pin::pin!(clock.set_back());
        assert!(watched.as_mut().now_or_never().is_none());
        clock.turn(SignedDuration::from_hours(3));
        assert!(watched.as_mut().now_or_never().is_none());
        clock.turn(SignedDuration::from_hours(-2));
        assert_eq!(watched.await.as_secs_f64().round(), 7200.0);
    }
}
