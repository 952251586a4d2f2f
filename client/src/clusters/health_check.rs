//! Asks a cluster whether it is ready, and decides what the answer proves.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::{Request, StatusCode};
use kube::client::Body;
use tokio::time::timeout;
use tracing::error;

use crate::live::health::Health;
use crate::live::{ClusterAccess, Credential, error_message};

/// The deadline of a request for `/readyz`.
const DEADLINE: Duration = Duration::from_secs(5);

/// The answer to a request for `/readyz` with the credential of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ready,
    Unauthorized,
    NotReady(StatusCode),
    /// The connection failed.
    Unreachable(Arc<str>),
    Silence,
    /// The request could not be sent with the member's credential.
    NoCredential(Arc<str>),
    /// The member's credential plugin did not end in time.
    CredentialPending,
}

impl Answer {
    /// The health of a member that gets this answer.
    pub(super) fn health(&self) -> Health {
        let unavailable =
            |problem: Arc<str>, is_unresponsive| Health::Unavailable { problem, is_unresponsive };
        match self {
            Self::Ready => Health::Ready,
            Self::Unauthorized => Health::Unauthorized,
            Self::NotReady(code) => {
                unavailable(format!("it is not ready: /readyz returned {}", code.as_u16()).into(), false)
            }
            Self::Unreachable(problem) | Self::NoCredential(problem) => unavailable(problem.clone(), false),
            Self::Silence => unavailable(format!("no response within {}s", DEADLINE.as_secs()).into(), true),
            Self::CredentialPending => {
                let problem = format!("its credential plugin did not end within {}s", DEADLINE.as_secs());
                unavailable(problem.into(), true)
            }
        }
    }

    /// Whether the cluster seems to be unavailable. The reason may be the member's own, for example its client
    /// certificate, or a gateway that fails for its user.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::NotReady(_) | Self::Unreachable(_) | Self::Silence)
    }

    pub(super) fn is_response(&self) -> bool {
        matches!(self, Self::Ready | Self::Unauthorized)
    }
}

/// What the answers to one or two members prove about their cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Responds,
    Unavailable,
    /// The answer concerns only the member that was asked.
    Inconclusive,
}

/// `other` is the answer to another member, which is asked if that to the first one is a failure. `has_responded` is
/// whether the cluster responded to another request in the meantime.
pub(super) fn verdict(answer: &Answer, other: Option<&Answer>, has_responded: bool) -> Verdict {
    match (answer, other) {
        (Answer::Ready | Answer::Unauthorized, _) => Verdict::Responds,
        (_, Some(other)) if other.is_response() => Verdict::Responds,
        (Answer::NotReady(_) | Answer::Unreachable(_) | Answer::Silence, _) if has_responded => {
            Verdict::Responds
        }
        (Answer::NoCredential(_) | Answer::CredentialPending, _) => Verdict::Inconclusive,
        (Answer::NotReady(_) | Answer::Unreachable(_) | Answer::Silence, _) => Verdict::Unavailable,
    }
}

/// Requests `/readyz`, to which the API server responds for any caller, however busy it is
/// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#health-check-concurrency-exemption>).
pub(super) async fn ask(access: &ClusterAccess) -> Answer {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/readyz");
    // A client that the caller passed may panic.
    let result = timeout(DEADLINE, AssertUnwindSafe(access.check(request)).catch_unwind()).await;
    let error = match result {
        Ok(Err(_)) => {
            error!("a health check panicked; it is retried");
            return Answer::NoCredential("its health check panicked".into());
        }
        Ok(Ok(Ok(response))) if response.status() == StatusCode::UNAUTHORIZED => return Answer::Unauthorized,
        Ok(Ok(Ok(response))) if response.status().is_server_error() => {
            return Answer::NotReady(response.status());
        }
        Ok(Ok(Ok(_))) => return Answer::Ready,
        Ok(Ok(Err(error))) => Some(error_message(&error)),
        Err(_) => None,
    };
    failure(error, access.credential())
}

/// Why there is no response. Without `error`, the deadline has passed.
fn failure(error: Option<String>, credential: Credential) -> Answer {
    match (credential, error) {
        (Credential::Failed(problem), _) => Answer::NoCredential(problem.into()),
        (Credential::Pending, _) => Answer::CredentialPending,
        (Credential::Available, Some(problem)) => Answer::Unreachable(problem.into()),
        (Credential::Available, None) => Answer::Silence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn unreachable() -> Answer {
        Answer::Unreachable("refused".into())
    }

    fn no_credential() -> Answer {
        Answer::NoCredential("the plugin failed".into())
    }

    #[rstest]
    #[case::ready(Answer::Ready, None, Verdict::Responds)]
    #[case::unauthorized(Answer::Unauthorized, None, Verdict::Responds)]
    #[case::not_ready(Answer::NotReady(StatusCode::SERVICE_UNAVAILABLE), None, Verdict::Unavailable)]
    #[case::unreachable(unreachable(), None, Verdict::Unavailable)]
    #[case::silent(Answer::Silence, None, Verdict::Unavailable)]
    #[case::plugin_fails(no_credential(), None, Verdict::Inconclusive)]
    #[case::plugin_hangs(Answer::CredentialPending, None, Verdict::Inconclusive)]
    #[case::silent_for_both(Answer::Silence, Some(Answer::Silence), Verdict::Unavailable)]
    #[case::unreachable_for_both(unreachable(), Some(unreachable()), Verdict::Unavailable)]
    #[case::not_ready_for_both(
        Answer::NotReady(StatusCode::SERVICE_UNAVAILABLE),
        Some(Answer::NotReady(StatusCode::SERVICE_UNAVAILABLE)),
        Verdict::Unavailable
    )]
    #[case::not_ready_for_one(
        Answer::NotReady(StatusCode::INTERNAL_SERVER_ERROR),
        Some(Answer::Ready),
        Verdict::Responds
    )]
    #[case::silent_for_one(Answer::Silence, Some(Answer::Ready), Verdict::Responds)]
    #[case::unreachable_for_one(unreachable(), Some(Answer::Unauthorized), Verdict::Responds)]
    #[case::other_has_no_credential(Answer::Silence, Some(no_credential()), Verdict::Unavailable)]
    #[case::other_plugin_hangs(unreachable(), Some(Answer::CredentialPending), Verdict::Unavailable)]
    #[case::plugin_hangs_after_a_failure(
        Answer::CredentialPending,
        Some(Answer::Silence),
        Verdict::Inconclusive
    )]
    fn verdicts(#[case] answer: Answer, #[case] other: Option<Answer>, #[case] expected: Verdict) {
        assert_eq!(verdict(&answer, other.as_ref(), false), expected);
    }

    #[rstest]
    #[case::silent(Answer::Silence, Verdict::Responds)]
    #[case::unreachable(unreachable(), Verdict::Responds)]
    #[case::not_ready(Answer::NotReady(StatusCode::SERVICE_UNAVAILABLE), Verdict::Responds)]
    #[case::plugin_hangs(Answer::CredentialPending, Verdict::Inconclusive)]
    fn a_response_to_another_request_proves_that_the_cluster_responds(
        #[case] answer: Answer,
        #[case] expected: Verdict,
    ) {
        assert_eq!(verdict(&answer, None, true), expected);
    }

    #[rstest]
    #[case::refused(Some("refused"), Credential::Available, unreachable())]
    #[case::silent(None, Credential::Available, Answer::Silence)]
    #[case::plugin_fails(Some("failed"), Credential::Failed("the plugin failed".into()), no_credential())]
    #[case::plugin_hangs(None, Credential::Pending, Answer::CredentialPending)]
    fn a_missing_credential_is_no_failure_of_the_cluster(
        #[case] error: Option<&str>,
        #[case] credential: Credential,
        #[case] expected: Answer,
    ) {
        assert_eq!(failure(error.map(str::to_owned), credential), expected);
    }
}
