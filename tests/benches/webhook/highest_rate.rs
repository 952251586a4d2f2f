//! Finds the highest rate of reviews with responses in time.

use std::sync::Arc;
use std::time::Duration;

use crate::comparison::Comparison;
use crate::results::{Results, Sample};
use crate::reviews::Reviews;
use crate::rounds::{Load, Subject, send_reviews};

/// Limit of the p99.
pub const P99: Duration = Duration::from_millis(10);

/// The factor between rates, until one is too high.
const COARSE: f64 = 1.4;

/// The factor between rates after that.
const FINE: f64 = 1.07;

/// Duration of each rate.
const WINDOW: Duration = Duration::from_millis(1500);

/// Number of parts of the duration. The median of their p99s counts, because a rate that is too high affects all parts
/// except the first, and other load on the machine only some.
const PARTS: usize = 6;

/// A rate is too high if it fails this many times in a row.
const TRIES: usize = 3;

struct Search {
    /// The highest rate that succeeded, or 0.
    rate: f64,
    step: f64,
    failed: usize,
    is_done: bool,
}

/// Finds the highest rate of each server, starting at `first_rate`.
pub async fn run(
    subjects: &Comparison<Subject>,
    reviews: &Arc<Reviews>,
    first_rate: f64,
) -> anyhow::Result<Comparison<f64>> {
    let search = || Search { rate: 0.0, step: COARSE, failed: 0, is_done: false };
    let mut searches = Comparison { webhook: search(), baseline: search() };
    while !(searches.webhook.is_done && searches.baseline.is_done) {
        searches.webhook.step(&subjects.webhook, reviews, first_rate).await?;
        searches.baseline.step(&subjects.baseline, reviews, first_rate).await?;
    }
    Ok(searches.map(|search| search.rate))
}

impl Search {
    async fn step(
        &mut self,
        subject: &Subject,
        reviews: &Arc<Reviews>,
        first_rate: f64,
    ) -> anyhow::Result<()> {
        if self.is_done {
            return Ok(());
        }
        let next = if self.rate == 0.0 { first_rate } else { self.rate * self.step };
        subject.service.connect().await?;
        if is_in_time(&send_reviews(&subject.service, Load::Rate(next), reviews, WINDOW).await?) {
            (self.rate, self.failed) = (next, 0);
            return Ok(());
        }
        self.failed += 1;
        if self.failed == TRIES {
            self.is_done = self.rate == 0.0 || self.step == FINE;
            (self.step, self.failed) = (FINE, 0);
        }
        Ok(())
    }
}

fn is_in_time(samples: &[Sample]) -> bool {
    let part = |part| -> Results {
        let is_of = |sample: &&Sample| sample.index * PARTS / samples.len() == part;
        samples.iter().filter(is_of).cloned().collect()
    };
    let mut times: Vec<_> = (0..PARTS).map(|index| part(index).percentile(99.0)).collect();
    times.sort_unstable();
    let has_errors = samples.iter().any(|sample| sample.error.is_some());
    !has_errors && times.get(PARTS / 2).is_some_and(|&p99| p99 < P99)
}
