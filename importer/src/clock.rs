//! The wall clock, by which tokens expire.
//!
//! Due times are kept as wall-clock times and not as timers: a timer does not run while a machine
//! is suspended, and does not follow a clock that is set.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// How late a step of the clock, or a machine's waking up, may be noticed.
const RECHECK: Duration = Duration::from_secs(5);

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
            let nap = rest.unsigned_abs().min(RECHECK);
            // The sender lives as long as `self`, so `changed` can't end with an error.
            let _ = tokio::time::timeout(nap, turned.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
