//! Back-off between the retries of a watch.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{DefaultBackoff, Event, Result};

/// Kube's back-off for watches, without the flaw of `WatchStreamExt::default_backoff`: each retry of a list starts with
/// an `Init` event, which would reset it.
#[derive(Default)]
pub(crate) struct WatchBackoff(DefaultBackoff);

impl WatchBackoff {
    /// How long to wait after this item of the watch before the next one is polled.
    pub(crate) fn pause_after<K>(&mut self, item: &Result<Event<K>>) -> Duration {
        match item {
            Ok(Event::Init) => Duration::ZERO,
            Ok(_) => {
                self.0.reset();
                Duration::ZERO
            }
            // The default back-off has no last retry.
            Err(_) => self.0.next().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Error;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_progress_resets_the_back_off() {
        let mut backoff = WatchBackoff::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(backoff.pause_after::<()>(&Ok(Event::Init)), Duration::ZERO);
            pauses.push(backoff.pause_after::<()>(&Err(Error::NoResourceVersion)));
        }
        let seconds = Duration::from_secs;
        assert!(pauses[0] < seconds(2) && pauses[7] >= seconds(30), "{pauses:?}");
        assert_eq!(backoff.pause_after::<()>(&Ok(Event::InitDone)), Duration::ZERO);
        assert!(backoff.pause_after::<()>(&Err(Error::NoResourceVersion)) < seconds(2));
    }
}
