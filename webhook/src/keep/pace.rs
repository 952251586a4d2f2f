//! The least time between two writes of the same thing: someone else who also insists does not make
//! us spin.

use std::time::Duration;

use tokio::time::Instant;

use crate::keep::trust::left;

const PAUSE: Duration = Duration::from_millis(500);

/// When the last write was.
#[derive(Debug, Default)]
pub struct Pace(Option<Instant>);

impl Pace {
    /// How long the next write has to wait, if it has to.
    pub fn wait(&self, clock: Instant) -> Option<Duration> {
        self.0.map(|last| left(last, PAUSE, clock)).filter(|wait| !wait.is_zero())
    }

    /// Something is being written.
    pub fn write(&mut self, clock: Instant) {
        self.0 = Some(clock);
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
}
