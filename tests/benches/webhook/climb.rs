//! Finds the highest rate of reviews with answers in time.

use std::sync::Arc;
use std::time::Duration;

use crate::both::Both;
use crate::reviews::Reviews;
use crate::rounds::{Load, Side, ask};
use crate::tally::{Sample, Tally};

/// Limit of the p99.
pub const P99: Duration = Duration::from_millis(10);

/// The factor between rates, at first.
const COARSE: f64 = 1.4;

/// The factor between rates, once the first one was too large.
const FINE: f64 = 1.07;

/// Duration of each rate.
const WINDOW: Duration = Duration::from_millis(1500);

/// Number of parts of the duration. The median of their p99s counts: a rate that is too high affects all parts except
/// the first, noise only some.
const PARTS: usize = 6;

/// A rate is too high when it fails this many times in a row.
const TRIES: usize = 3;

struct Climb {
    /// The highest rate that succeeded. 0: none did.
    rate: f64,
    step: f64,
    failed: usize,
    is_over: bool,
}

/// Finds the highest rate of each, starting at `begin`.
pub async fn run(sides: &Both<Side>, reviews: &Arc<Reviews>, begin: f64) -> anyhow::Result<Both<f64>> {
    let climb = || Climb { rate: 0.0, step: COARSE, failed: 0, is_over: false };
    let mut climbs = Both { webhook: climb(), limit: climb() };
    while !(climbs.webhook.is_over && climbs.limit.is_over) {
        climbs.webhook.step(&sides.webhook, reviews, begin).await?;
        climbs.limit.step(&sides.limit, reviews, begin).await?;
    }
    Ok(climbs.map(|climb| climb.rate))
}

impl Climb {
    async fn step(&mut self, side: &Side, reviews: &Arc<Reviews>, begin: f64) -> anyhow::Result<()> {
        if self.is_over {
            return Ok(());
        }
        let next = if self.rate == 0.0 { begin } else { self.rate * self.step };
        side.service.connect().await?;
        if is_fine(&ask(&side.service, Load::Rate(next), reviews, WINDOW).await?) {
            (self.rate, self.failed) = (next, 0);
            return Ok(());
        }
        self.failed += 1;
        if self.failed == TRIES {
            self.is_over = self.rate == 0.0 || self.step == FINE;
            (self.step, self.failed) = (FINE, 0);
        }
        Ok(())
    }
}

fn is_fine(samples: &[Sample]) -> bool {
    let part = |part| -> Tally {
        let is_of = |sample: &&Sample| sample.index * PARTS / samples.len() == part;
        samples.iter().filter(is_of).cloned().collect()
    };
    let mut times: Vec<_> = (0..PARTS).map(|index| part(index).percentile(99.0)).collect();
    times.sort_unstable();
    let has_errors = samples.iter().any(|sample| sample.error.is_some());
    !has_errors && times.get(PARTS / 2).is_some_and(|&p99| p99 < P99)
}
