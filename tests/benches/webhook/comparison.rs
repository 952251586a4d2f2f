//! A value for the webhook, and one for the baseline to compare it with.

#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison<T> {
    pub webhook: T,
    pub baseline: T,
}

impl<T> Comparison<T> {
    /// Applies a function to both.
    pub fn map<U>(&self, figure: impl Fn(&T) -> U) -> Comparison<U> {
        Comparison { webhook: figure(&self.webhook), baseline: figure(&self.baseline) }
    }
}

impl Comparison<f64> {
    /// The webhook's figure divided by the baseline's.
    pub fn ratio(&self) -> f64 {
        self.webhook / self.baseline
    }

    /// The baseline's figure divided by the webhook's, for figures where less is better.
    pub fn inverse(&self) -> f64 {
        self.baseline / self.webhook
    }
}
