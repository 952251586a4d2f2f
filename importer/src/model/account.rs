//! What a source reports about a service account.

use std::sync::Arc;

/// A service account, as its source tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// It is there, with this UID.
    Is(Arc<str>),
    /// The one with this UID was deleted.
    Gone(Arc<str>),
}

impl Account {
    /// Whether a token of the service account with this UID is good.
    pub fn allows(&self, uid: &str) -> bool {
        match self {
            Self::Is(now) => **now == *uid,
            Self::Gone(gone) => **gone != *uid,
        }
    }
}
