//! The results of requests.

use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Sample {
    /// The number of the request in the load.
    pub index: usize,
    /// From the time when the request was due until its response.
    pub latency: Duration,
    /// Why the request failed, or why its response is wrong.
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Sorted.
    latencies: Vec<Duration>,
    errors: BTreeMap<String, usize>,
}

impl Results {
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

impl FromIterator<Sample> for Results {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        let mut results = Self::default();
        for Sample { latency, error, .. } in samples {
            results.latencies.push(latency);
            if let Some(reason) = error {
                *results.errors.entry(reason).or_default() += 1;
            }
        }
        results.latencies.sort_unstable();
        results
    }
}
