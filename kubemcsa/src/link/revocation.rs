//! Waits until a link's token is revoked.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Config;
use mcsa_credentials::token::Claims;
use tokio::time::{Instant, sleep};

use super::bind;
use crate::cli::times::to_the_second;
use crate::cluster::Cluster;
use crate::cluster::call::CallError;

/// How long an API server caches an authenticated token.
const CACHED: Duration = Duration::from_secs(10);
/// Several API servers may share an address.
const TIMEOUT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum TokenState {
    Revoked,
    /// The source still authenticates the token.
    Accepted,
    /// This machine can't use the link's connection. The message says when the token stops working.
    NotChecked(String),
}

/// Waits until the source rejects the link's token, whose Secret was just deleted, or the timeout expires. Uses the
/// link's own connection: at the kubeconfig's address, a server that accepts only its own users may answer, and its
/// certificate may not be verified.
pub(crate) async fn wait_until_revoked(
    source: &Cluster,
    target: &str,
    link: Config,
) -> anyhow::Result<TokenState> {
    let claims = link.auth_info.token.as_ref().and_then(|token| Claims::parse(token).ok());
    let until = accepted_until(claims.as_ref(), target, Timestamp::now());
    let cluster = Cluster::as_link(&source.name, target, link)?;
    let start = Instant::now();
    loop {
        match state(cluster.uid().await, start.elapsed())? {
            Response::Revoked => return Ok(TokenState::Revoked),
            Response::Accepted => return Ok(TokenState::Accepted),
            Response::Unreachable(error) => return Ok(TokenState::NotChecked(not_checked(until, &error))),
            Response::Inconclusive => sleep(INTERVAL).await,
        }
    }
}

/// What a response shows.
#[derive(Debug)]
enum Response {
    Revoked,
    Accepted,
    Unreachable(CallError),
    /// Try again.
    Inconclusive,
}

/// `elapsed` is the time since the first request.
fn state(response: Result<String, CallError>, elapsed: Duration) -> Result<Response, CallError> {
    let is_late = elapsed >= TIMEOUT;
    match response {
        Err(error) if error.is_unauthorized() => Ok(Response::Revoked),
        // Until then, the failure may be a short one; afterwards, waiting changes nothing.
        Err(error) if (error.is_unreachable() || error.is_foreign()) && elapsed >= CACHED => {
            Ok(Response::Unreachable(error))
        }
        Err(error) if error.refusal().is_none() && is_late => Err(error),
        // A token that is forbidden to read the namespace is still authenticated.
        Ok(_) | Err(_) => Ok(if is_late { Response::Accepted } else { Response::Inconclusive }),
    }
}

fn not_checked(until: Option<Timestamp>, error: &CallError) -> String {
    let until = match until {
        Some(time) => format!("it stops working at {} at the latest", to_the_second(time)),
        None => "when it stops working is unknown".into(),
    };
    format!(
        "could not check that the link's old token is revoked: this machine can't use its connection ({error}); {until}"
    )
}

/// When the token stops working at the latest. If it is bound to a Secret of the link, which was deleted `now`: once API
/// servers no longer cache it. Otherwise: when it expires.
fn accepted_until(claims: Option<&Claims>, target: &str, now: Timestamp) -> Option<Timestamp> {
    let claims = claims?;
    let is_deleted =
        claims.bound_secret.as_ref().is_some_and(|secret| bind::is_bound_name(&secret.name, target));
    let forgotten = now.saturating_add(SignedDuration::try_from(CACHED).ok()?).ok()?;
    Some(if is_deleted { forgotten.min(claims.expires_at) } else { claims.expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::call::tests::{status, unreachable};
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use mcsa_credentials::SecretString;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::revoked(Err(status(401)), 0, "Ok(Revoked)")]
    #[case::still_cached(Ok("uid".into()), 10, "Ok(Inconclusive)")]
    #[case::accepted(Ok("uid".into()), 60, "Ok(Accepted)")]
    #[case::forbidden(Err(status(403)), 60, "Ok(Accepted)")]
    #[case::unreachable_for_a_moment(Err(unreachable()), 9, "Ok(Inconclusive)")]
    #[case::unreachable(Err(unreachable()), 10, "Ok(Unreachable(")]
    #[case::broken_for_a_moment(Err(status(500)), 59, "Ok(Inconclusive)")]
    #[case::broken(Err(status(500)), 60, "Err(")]
    fn only_a_rejection_counts_as_revoked(
        #[case] response: Result<String, CallError>,
        #[case] seconds: u64,
        #[case] expected: &str,
    ) {
        let state = format!("{:?}", state(response, Duration::from_secs(seconds)));
        assert!(state.starts_with(expected), "{state}");
    }

    #[rstest]
    #[case::of_the_link(json!({ "name": "c1", "uid": "u" }), 3600, Some(110))]
    #[case::of_a_rotation(json!({ "name": "rotation-x1", "uid": "u" }), 3600, Some(110))]
    #[case::expires_sooner(json!({ "name": "c1", "uid": "u" }), 105, Some(105))]
    #[case::of_another_secret(json!({ "name": "other", "uid": "u" }), 3600, Some(3600))]
    #[case::not_bound(Value::Null, 3600, Some(3600))]
    fn token_works_until_it_is_forgotten_or_expires(
        #[case] bound: Value,
        #[case] expires_at: i64,
        #[case] expected: Option<i64>,
    ) {
        let mut of = json!({ "namespace": "n", "serviceaccount": { "name": "c1", "uid": "a" } });
        if !bound.is_null() {
            of["secret"] = bound;
        }
        let claims = json!({ "iat": 0, "exp": expires_at, "kubernetes.io": of }).to_string();
        let token = SecretString::from(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)));
        let claims = Claims::parse(&token).unwrap();
        let until = accepted_until(Some(&claims), "c1", Timestamp::from_second(100).unwrap());
        assert_eq!(until.map(Timestamp::as_second), expected);
        assert_eq!(accepted_until(None, "c1", Timestamp::UNIX_EPOCH), None);
    }
}
