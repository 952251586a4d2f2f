//! Why a reconciliation did not succeed, in the words of the import's conditions.

use std::time::Duration;

use mcsa_runtime::errors;

/// Reason of the condition `Refreshed=False`. These names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no link to the source.
    ClusterNotLinked,
    /// The Secret of the link can't be used.
    InvalidLink,
    /// The source refuses the link's own token.
    LinkUnauthorized,
    /// The source does not answer.
    SourceUnreachable,
    /// The source answers with an error of its own.
    SourceFailed,
    /// The source asks for fewer calls.
    Throttled,
    /// Another cluster answers at the source's address.
    ClusterIdentityMismatch,
    /// The source has no such service account.
    ServiceAccountNotFound,
    /// The source has no such Secret to bind the token to.
    BoundSecretNotFound,
    /// The link may not mint this token.
    Forbidden,
    /// What the import asks for is invalid, or a link's own identity.
    InvalidSpec,
    /// The Secret's name is taken.
    SecretNameConflict,
    /// The target does not accept the Secret.
    SecretNotWritten,
}

impl Reason {
    /// The name as it stands in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterNotLinked => "ClusterNotLinked",
            Self::InvalidLink => "InvalidLink",
            Self::LinkUnauthorized => "LinkUnauthorized",
            Self::SourceUnreachable => "SourceUnreachable",
            Self::SourceFailed => "SourceFailed",
            Self::Throttled => "Throttled",
            Self::ClusterIdentityMismatch => "ClusterIdentityMismatch",
            Self::ServiceAccountNotFound => "ServiceAccountNotFound",
            Self::BoundSecretNotFound => "BoundSecretNotFound",
            Self::Forbidden => "Forbidden",
            Self::InvalidSpec => "InvalidSpec",
            Self::SecretNameConflict => "SecretNameConflict",
            Self::SecretNotWritten => "SecretNotWritten",
        }
    }
}

/// A reconciliation that did not succeed: what was tried on which object, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", reason.as_str())]
pub struct Failure {
    /// For machines.
    pub reason: Reason,
    /// For people: which object, what is wrong with it, and the mend.
    pub message: String,
    /// How long the API server asked us to wait.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a wish from the API server. What a source said in the message is cut short.
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        Self { reason, message: errors::short(message.as_ref()), retry_after: None }
    }
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
pub const LAST_RETRY: Duration = Duration::from_secs(300);

/// How long to wait after the given number of failures in a row: twice as long each time, up to
/// five minutes, of which a random part (`random` in 0..1) between half and all, so that imports
/// that failed together do not retry together.
pub fn back_off(failures: u32, random: f64) -> Duration {
    let doubled =
        FIRST_RETRY.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(LAST_RETRY).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1, 0.0, 500)]
    #[case(1, 1.0, 1_000)]
    #[case(4, 1.0, 8_000)]
    #[case(40, 1.0, 300_000)]
    #[case(u32::MAX, 0.0, 150_000)]
    fn retries_back_off(#[case] failures: u32, #[case] random: f64, #[case] millis: u64) {
        assert_eq!(back_off(failures, random), Duration::from_millis(millis));
    }
}
