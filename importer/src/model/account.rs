//! What a source reports about a service account.

use std::sync::Arc;

/// The last report about a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// It exists, with this UID.
    Exists(Arc<str>),
    /// The service account with this UID was deleted.
    Deleted(Arc<str>),
}

impl Account {
    /// Whether a token that was minted for the service account with this UID is still valid.
    pub fn allows(&self, uid: &str) -> bool {
        match self {
            Self::Exists(current) => **current == *uid,
            Self::Deleted(deleted) => **deleted != *uid,
        }
    }
}
