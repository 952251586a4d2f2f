//! Why a reconciliation failed, as the import's conditions report it.

use std::time::Duration;

use jiff::Timestamp;
use mcsa_runtime::errors;

use crate::model::key::ObjectKey;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Reason of the condition `Refreshed=False`. These names are part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name),*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason as written in the condition.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),*
                }
            }
        }
    };
}

reasons! {
    /// There is no link to the source.
    ClusterNotLinked,
    /// The Secret of the link can't be used.
    InvalidLink,
    /// The source refuses the link's own token.
    LinkUnauthorized,
    /// The link may not get the cluster's identity.
    LinkForbidden,
    /// The source does not respond.
    SourceUnreachable,
    /// The source responds, but not to the token request in time.
    TokenRequestTimedOut,
    /// The server at the source's address has a certificate that the link does not trust.
    SourceNotTrusted,
    /// The source returned a server error or an invalid response.
    SourceFailed,
    /// The source throttles requests (429).
    Throttled,
    /// Another cluster answers at the source's address.
    ClusterIdentityMismatch,
    /// The source has no such service account.
    ServiceAccountNotFound,
    /// The source has no such Secret to bind the token to.
    BoundSecretNotFound,
    /// The link may not mint this token.
    Forbidden,
    /// No import policy permits the import.
    NotPermitted,
    /// The spec is invalid, or it names a link's own identity.
    InvalidSpec,
    /// The Secret exists and belongs to another owner.
    SecretNameConflict,
    /// The quota of the import's namespace is exceeded.
    QuotaExceeded,
    /// The import's namespace is being deleted.
    NamespaceTerminating,
    /// Another client keeps changing the Secret, or the spec keeps changing: the next token is delayed.
    TooManyRepairs,
    /// The target rejects the Secret for another reason.
    SecretNotWritten,
}

impl Reason {
    /// Failures that the owner of the import or of the service account has to fix. They page no operator.
    pub const FIXED_BY_OWNERS: [Self; 9] = [
        Self::ClusterNotLinked,
        Self::ServiceAccountNotFound,
        Self::BoundSecretNotFound,
        Self::Forbidden,
        Self::NotPermitted,
        Self::InvalidSpec,
        Self::SecretNameConflict,
        Self::QuotaExceeded,
        Self::NamespaceTerminating,
    ];
}

/// A failed reconciliation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", reason.as_str())]
pub struct Failure {
    pub reason: Reason,
    /// What happened to which object, and what to do.
    pub message: String,
    pub retry: Retry,
}

/// When a failed reconciliation is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After the import's own back-off, and no earlier than after this wait (`Retry-After`).
    BackOff(Duration),
    /// At this time, or as soon as the source responds. No attempt was made, because the circuit breaker is open.
    BreakerOpen(Timestamp),
    /// At this time. No attempt was made.
    NotBefore(Timestamp),
}

impl Failure {
    /// Whether no attempt was made, because the circuit breaker is open.
    pub fn waits_for_source(&self) -> bool {
        matches!(self.retry, Retry::BreakerOpen(_))
    }

    /// A failure that is retried after the back-off. The message is truncated.
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        let retry = Retry::BackOff(Duration::ZERO);
        Self { reason, message: errors::short(message.as_ref()), retry }
    }

    pub fn not_linked(cluster: &str) -> Self {
        let message = format!(
            "there is no link to {cluster}; run kubemcsa bootstrap --source-name {cluster}, with --allow to limit what \
             may be imported"
        );
        Self::new(Reason::ClusterNotLinked, message)
    }

    /// The source responds, but not to the token request in time.
    pub fn token_request_timed_out(cluster: &str, account: &ObjectKey) -> Self {
        let message = format!(
            "{cluster} responds, but not in time to the request of a token for {account}: check whether an admission \
             webhook of {cluster} for serviceaccounts/token is slow; the importer retries later"
        );
        Self::new(Reason::TokenRequestTimedOut, message)
    }

    /// Another cluster answers at the source's address.
    pub fn other_cluster(cluster: &str, server: &str, uid: &str, pinned: &str) -> Self {
        let message = format!(
            "the cluster at {server} has UID {uid}, but link {cluster} expects UID {pinned}; if the cluster was \
             replaced on purpose, run kubemcsa unlink --local-only --source-name {cluster}, then kubemcsa bootstrap, \
             with --allow to limit what may be imported"
        );
        Self::new(Reason::ClusterIdentityMismatch, message)
    }
}

const INITIAL_WAIT: Duration = Duration::from_secs(1);
/// The shortest wait, whatever the jitter.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two attempts.
pub const MAX_WAIT: Duration = Duration::from_secs(300);

/// The longest wait after this number of consecutive failures. It doubles with each failure, from one second to five
/// minutes.
pub fn wait_limit(failures: u32) -> Duration {
    let doublings = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    INITIAL_WAIT.saturating_mul(doublings).min(MAX_WAIT)
}

/// The wait after this number of consecutive failures: a random part (`random` in 0..1) of the longest
/// wait, which spreads retries of imports that failed together
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>, "full jitter").
pub fn back_off(failures: u32, random: f64) -> Duration {
    wait_limit(failures).mul_f64(random.clamp(0.0, 1.0)).max(MIN_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1, 0.0, 100)]
    #[case(1, 1.0, 1_000)]
    #[case(4, 0.5, 4_000)]
    #[case(4, 1.0, 8_000)]
    #[case(40, 1.0, 300_000)]
    #[case(u32::MAX, 0.5, 150_000)]
    fn retries_back_off(#[case] failures: u32, #[case] random: f64, #[case] millis: u64) {
        assert_eq!(back_off(failures, random), Duration::from_millis(millis));
    }
}
