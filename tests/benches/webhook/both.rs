//! The webhook, and beside it the limit: each under the same load, in turns.

/// One of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Both<T> {
    /// The webhook's.
    pub webhook: T,
    /// The limit's.
    pub limit: T,
}

impl<T> Both<T> {
    /// Makes a figure of each.
    pub fn map<U>(&self, figure: impl Fn(&T) -> U) -> Both<U> {
        Both { webhook: figure(&self.webhook), limit: figure(&self.limit) }
    }
}

impl Both<f64> {
    /// The webhook's figure in terms of the limit's.
    pub fn ratio(&self) -> f64 {
        self.webhook / self.limit
    }

    /// The limit's figure in terms of the webhook's: a share, where less is better.
    pub fn inverse(&self) -> f64 {
        self.limit / self.webhook
    }
}
