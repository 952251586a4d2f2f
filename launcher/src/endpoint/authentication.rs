//! Bearer tokens, checked by the target's API server. Client certificates are checked in the TLS handshake.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};

use super::cache::Cache;
use super::reviewer::Reviewer;
use super::user::User;

/// How long a token that was valid counts as valid: a revoked one may be used this much longer.
const LIFETIME: Duration = Duration::from_secs(10);

/// Authenticates bearer tokens.
pub(super) struct TokenReviews {
    reviewer: Reviewer,
    /// The users of valid tokens, by their SHA-256.
    valid: Cache<Vec<u8>, User>,
}

impl TokenReviews {
    pub(super) fn new(reviewer: Reviewer) -> Self {
        Self { reviewer, valid: Cache::new(LIFETIME) }
    }

    /// The user of a token. `None`: the token is invalid.
    pub(super) async fn user(&self, token: &str) -> kube::Result<Option<User>> {
        let key = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
        if let Some(user) = self.valid.get(&key) {
            return Ok(Some(user));
        }
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let review = TokenReview { spec, ..Default::default() };
        let review = self.reviewer.create(&review).await?;
        let status = review.status.filter(|status| status.authenticated == Some(true));
        let user = status.and_then(|status| User::of_review(status.user?));
        if let Some(user) = &user {
            self.valid.insert(key, user.clone());
        }
        Ok(user)
    }
}

/// The bearer token of a request.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("Bearer abc", Some("abc"))]
    #[case("bearer  abc ", Some("abc"))]
    #[case("Basic abc", None)]
    #[case("Bearer ", None)]
    #[case("Bearer", None)]
    fn bearer_tokens(#[case] header: &str, #[case] expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
        assert_eq!(bearer_token(&headers), expected);
    }
}
