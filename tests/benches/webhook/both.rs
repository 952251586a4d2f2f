//! A value for the webhook, and one for the limit beside it.

#[derive(Clone, Copy, Debug, Default)]
pub struct Both<T> {
    pub webhook: T,
    pub limit: T,
}

impl<T> Both<T> {
    /// Applies a function to both.
    pub fn map<U>(&self, figure: impl Fn(&T) -> U) -> Both<U> {
        Both { webhook: figure(&self.webhook), limit: figure(&self.limit) }
    }
}

impl Both<f64> {
    /// The webhook's figure divided by the limit's.
    pub fn ratio(&self) -> f64 {
        self.webhook / self.limit
    }

    /// The limit's figure divided by the webhook's, for figures where less is better.
    pub fn inverse(&self) -> f64 {
        self.limit / self.webhook
    }
}
