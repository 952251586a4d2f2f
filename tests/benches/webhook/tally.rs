//! The results of requests.

use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Sample {
    /// The number of the request in the load.
    pub index: usize,
    /// From the time when the request was due until its answer.
    pub latency: Duration,
    /// Why the request failed, or its answer is wrong.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Sorted.
    latencies: Vec<Duration>,
    errors: BTreeMap<String, usize>,
}

impl Tally {
    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// A percentile of the durations of all requests, including failed ones.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (self.latencies.len() as f64 * percent / 100.0).ceil() as usize;
        self.latencies.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// Number of failed requests.
    pub fn errors(&self) -> usize {
        self.errors.values().sum()
    }

    /// The errors, the most frequent first.
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
