//! What came of requests.

use std::collections::BTreeMap;
use std::time::Duration;

/// One request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Which one of the load it was.
    pub index: usize,
    /// From when it was due to its answer.
    pub latency: Duration,
    /// Why the answer was not the right one, if so.
    pub error: Option<String>,
}

/// Requests of the same kind.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// In order.
    latencies: Vec<Duration>,
    errors: BTreeMap<String, usize>,
}

impl Tally {
    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// The time within which this share of the requests was answered, rightly or not.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (self.latencies.len() as f64 * percent / 100.0).ceil() as usize;
        self.latencies.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// How many requests failed.
    pub fn errors(&self) -> usize {
        self.errors.values().sum()
    }

    /// How they failed, the most frequent first.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.errors.iter().collect();
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(*count));
        reasons.iter().map(|(reason, count)| format!("{count} x {reason}")).collect()
    }
}

impl FromIterator<Sample> for Tally {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        let mut tally = Self::default();
        for Sample { latency, error, .. } in samples {
            tally.latencies.push(latency);
            if let Some(reason) = error {
                *tally.errors.entry(reason).or_default() += 1;
            }
        }
        tally.latencies.sort_unstable();
        tally
    }
}
