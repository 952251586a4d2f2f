//! Exponential back-off.

use std::time::Duration;

/// Starts at `min`, and doubles up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    pub(super) const DEFAULT: Self = Self { min: Duration::from_secs(1), max: Duration::from_secs(5 * 60) };

    /// `failures` is the number of consecutive failures before the latest one.
    pub(super) fn after(self, failures: u32) -> Duration {
        self.jittered(failures, fastrand::f64())
    }

    /// Subtracts up to a quarter, so that items that failed together do not retry together.
    fn jittered(self, failures: u32, random: f64) -> Duration {
        let factor = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max).mul_f64(1.0 - random / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 0.0, 1_000)]
    #[case(0, 1.0, 750)]
    #[case(3, 0.0, 8_000)]
    #[case(10, 0.0, 300_000)]
    #[case(u32::MAX, 0.0, 300_000)]
    fn delays_double_up_to_the_maximum(
        #[case] failures: u32,
        #[case] random: f64,
        #[case] milliseconds: u64,
    ) {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(300) };
        assert_eq!(backoff.jittered(failures, random), Duration::from_millis(milliseconds));
    }
}
