//! Why a reconciliation did not succeed, in the words of the import's conditions.

use std::time::Duration;

use jiff::Timestamp;
use mcsa_runtime::errors;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Reason of the condition `Refreshed=False`. These names are part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name),*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name as it stands in the condition.
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
    /// The source does not answer.
    SourceUnreachable,
    /// Whoever answers at the source's address has a certificate that the link does not accept.
    SourceNotTrusted,
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
    /// A quota of the import's namespace leaves no room for the Secret.
    QuotaExceeded,
    /// The import's namespace is being deleted.
    NamespaceTerminating,
    /// Someone else keeps changing the Secret, or the spec keeps changing: the next token waits.
    TooManyRepairs,
    /// The target does not accept the Secret for another reason.
    SecretNotWritten,
}

impl Reason {
    /// Those that whoever declared the import, or owns the service account, has to mend: nobody else
    /// need be called for them.
    pub const OWNERS_TO_MEND: [Self; 8] = [
        Self::ClusterNotLinked,
        Self::ServiceAccountNotFound,
        Self::BoundSecretNotFound,
        Self::Forbidden,
        Self::InvalidSpec,
        Self::SecretNameConflict,
        Self::QuotaExceeded,
        Self::NamespaceTerminating,
    ];
}

/// A reconciliation that did not succeed: what was tried on which object, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", reason.as_str())]
pub struct Failure {
    /// For machines.
    pub reason: Reason,
    /// For people: which object, what is wrong with it, and the mend.
    pub message: String,
    /// Not to be tried again before.
    pub retry: Retry,
}

/// When a failed reconciliation is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// By the import's own back-off, and not within this time, which the API server asked for.
    BackOff(Duration),
    /// Nothing was tried, as the source is given a rest until this time, or until it answers.
    Rest(Timestamp),
    /// Nothing was tried, and nothing is before this time.
    NotBefore(Timestamp),
}

impl Failure {
    /// A failure without a wish from the API server. What a source said in the message is cut short.
    pub fn new(reason: Reason, message: impl AsRef<str>) -> Self {
        let retry = Retry::BackOff(Duration::ZERO);
        Self { reason, message: errors::short(message.as_ref()), retry }
    }

    /// That there is no link to this source.
    pub fn not_linked(cluster: &str) -> Self {
        let message =
            format!("there is no link to {cluster}; run kubemcsa bootstrap with --source-name {cluster}");
        Self::new(Reason::ClusterNotLinked, message)
    }

    /// That another cluster answers than the one that the link was made for.
    pub fn other_cluster(cluster: &str, server: &str, uid: &str, pinned: &str) -> Self {
        let message = format!(
            "the cluster at {server} has the UID {uid}, but the link {cluster} was made for {pinned}; if it was \
             replaced on purpose, run kubemcsa unlink --local-only --source-name {cluster}, and kubemcsa bootstrap again"
        );
        Self::new(Reason::ClusterIdentityMismatch, message)
    }
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
/// However it falls, a retry waits so long.
const MIN_RETRY: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
pub const LAST_RETRY: Duration = Duration::from_secs(300);

/// The longest wait after the given number of failures in a row: a second, twice as long each time,
/// and five minutes at most.
pub fn longest_wait(failures: u32) -> Duration {
    let doublings = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_RETRY.saturating_mul(doublings).min(LAST_RETRY)
}

/// How long to wait after the given number of failures in a row: a random part (`random` in 0..1) of
/// the longest wait, so that what failed together is not tried again together
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>, "full jitter").
pub fn back_off(failures: u32, random: f64) -> Duration {
    longest_wait(failures).mul_f64(random.clamp(0.0, 1.0)).max(MIN_RETRY)
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
