//! Who may call what: the API server of the target decides, by the rights on `nodes` that kubelets ask for, too.

use std::time::Duration;

use http::Method;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};

use super::cache::Cache;
use super::reviewer::Reviewer;
use super::route::Route;
use super::user::User;

/// How long a permission or a refusal counts. Errors are never cached.
const LIFETIME: Duration = Duration::from_secs(5);

/// The right that a request needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Access {
    pub(super) verb: &'static str,
    /// Subresources of `nodes`; any of them suffices.
    pub(super) subresources: &'static [&'static str],
}

impl Access {
    /// The right that a request needs.
    pub(super) fn of(route: &Route, method: &Method) -> Self {
        let verb = match *method {
            // A WebSocket begins with a GET. Who may only read must not run commands.
            _ if route.is_upgrade() => "create",
            Method::GET | Method::HEAD | Method::OPTIONS => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "*",
        };
        let subresources: &[_] = match route {
            Route::Stats => &["stats"],
            Route::Metrics | Route::Usage(_) => &["metrics"],
            Route::Pods => &["pods", "proxy"],
            Route::Healthz => &["healthz", "proxy"],
            Route::Pod(_) | Route::Other => &["proxy"],
        };
        Self { verb, subresources }
    }
}

/// Asks the API server for permissions.
pub(super) struct AccessReviews {
    reviewer: Reviewer,
    allowed: Cache<Question, ()>,
    /// In a cache of their own: a caller that causes many refusals must not push out permissions.
    refused: Cache<Question, ()>,
}

/// The user, the right, and the node.
type Question = (User, Access, String);

impl AccessReviews {
    pub(super) fn new(reviewer: Reviewer) -> Self {
        Self { reviewer, allowed: Cache::new(LIFETIME), refused: Cache::new(LIFETIME) }
    }

    /// Whether a user has a right on a node. An empty name stands for all nodes.
    pub(super) async fn is_allowed(&self, user: &User, access: &Access, node: &str) -> kube::Result<bool> {
        let key = (user.clone(), access.clone(), node.to_owned());
        if self.allowed.get(&key).is_some() {
            return Ok(true);
        }
        if self.refused.get(&key).is_some() {
            return Ok(false);
        }
        for subresource in access.subresources {
            let review = review(user, access.verb, subresource, node);
            let review = self.reviewer.create(&review).await?;
            if review.status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
                self.allowed.insert(key, ());
                return Ok(true);
            }
        }
        self.refused.insert(key, ());
        Ok(false)
    }
}

fn review(user: &User, verb: &str, subresource: &str, node: &str) -> SubjectAccessReview {
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        version: Some("v1".to_owned()),
        resource: Some("nodes".to_owned()),
        subresource: Some(subresource.to_owned()),
        name: Some(node.to_owned()),
        ..Default::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: user.uid.clone(),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
        resource_attributes: Some(attributes),
        non_resource_attributes: None,
    };
    SubjectAccessReview { spec, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::fixtures::Target;
    use rstest::rstest;
    use tokio::time::advance;

    #[rstest]
    #[case("GET", "/exec/n/p/c", "create", &["proxy"])]
    #[case("POST", "/exec/n/p/c", "create", &["proxy"])]
    #[case("GET", "/attach/n/p/c", "create", &["proxy"])]
    #[case("GET", "/portForward/n/p", "create", &["proxy"])]
    #[case("GET", "/containerLogs/n/p/c", "get", &["proxy"])]
    #[case("GET", "/pods", "get", &["pods", "proxy"])]
    #[case("GET", "/healthz", "get", &["healthz", "proxy"])]
    #[case("GET", "/stats/summary", "get", &["stats"])]
    #[case("GET", "/metrics/resource/c2", "get", &["metrics"])]
    #[case("GET", "/metrics/resource", "get", &["metrics"])]
    #[case("POST", "/run/n/p/c", "create", &["proxy"])]
    #[case("DELETE", "/pods", "delete", &["pods", "proxy"])]
    #[case("TRACE", "/", "*", &["proxy"])]
    fn access_that_a_request_needs(
        #[case] method: &str,
        #[case] path: &str,
        #[case] verb: &'static str,
        #[case] subresources: &'static [&'static str],
    ) {
        let access = Access::of(&Route::of(path, ""), &method.parse().unwrap());
        assert_eq!(access, Access { verb, subresources });
    }

    #[tokio::test(start_paused = true)]
    async fn answer_is_asked_for_again_after_a_while() {
        let target = Target::default();
        let reviews = AccessReviews::new(Reviewer::new(target.client()));
        let user = User { name: "u".into(), uid: None, groups: Vec::new(), extra: Default::default() };
        let access = Access::of(&Route::Pods, &Method::GET);
        let is_allowed = async || reviews.is_allowed(&user, &access, "").await.unwrap();
        let count = || target.set(|state| state.access_reviews.len());

        assert!(!is_allowed().await);
        // One for each subresource.
        assert_eq!(count(), 2);
        target.set(|state| state.rights.push(("get", "proxy")));
        assert!(!is_allowed().await);
        assert_eq!(count(), 2);
        advance(LIFETIME).await;
        assert!(is_allowed().await);
        assert_eq!(count(), 4);
        target.set(|state| state.rights.clear());
        assert!(is_allowed().await);
        assert_eq!(count(), 4);
        advance(LIFETIME).await;
        assert!(!is_allowed().await);
        assert_eq!(count(), 6);
    }
}
