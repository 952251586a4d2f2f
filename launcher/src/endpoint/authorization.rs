//! Who may call what: the API server of the target decides, by the rights on `nodes` that kubelets ask for, too.

use std::time::Duration;

use http::Method;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_runtime::deadline::with_deadline;

use super::cache::Cache;
use super::route::Route;
use super::user::User;

/// How long a permission counts. Refusals and errors are never cached.
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
            Route::Metrics => &["metrics"],
            Route::Pods => &["pods", "proxy"],
            Route::Healthz => &["healthz", "proxy"],
            Route::Pod(_) | Route::Other => &["proxy"],
        };
        Self { verb, subresources }
    }
}

/// Asks the API server for permissions.
pub(super) struct AccessReviews {
    api: Api<SubjectAccessReview>,
    allowed: Cache<(User, Access, String), ()>,
}

impl AccessReviews {
    pub(super) fn new(client: Client) -> Self {
        Self { api: Api::all(client), allowed: Cache::new(LIFETIME) }
    }

    /// Whether a user has a right on a node. An empty name stands for all nodes.
    pub(super) async fn is_allowed(&self, user: &User, access: &Access, node: &str) -> kube::Result<bool> {
        let key = (user.clone(), access.clone(), node.to_owned());
        if self.allowed.get(&key).is_some() {
            return Ok(true);
        }
        for subresource in access.subresources {
            let review = review(user, access.verb, subresource, node);
            let review = with_deadline(self.api.create(&PostParams::default(), &review)).await?;
            if review.status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
                self.allowed.insert(key, ());
                return Ok(true);
            }
        }
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
    use rstest::rstest;

    #[rstest]
    #[case("GET", "/exec/n/p/c", "create", &["proxy"])]
    #[case("POST", "/exec/n/p/c", "create", &["proxy"])]
    #[case("GET", "/attach/n/p/c", "create", &["proxy"])]
    #[case("GET", "/portForward/n/p", "create", &["proxy"])]
    #[case("GET", "/containerLogs/n/p/c", "get", &["proxy"])]
    #[case("GET", "/pods", "get", &["pods", "proxy"])]
    #[case("GET", "/healthz", "get", &["healthz", "proxy"])]
    #[case("GET", "/stats/summary", "get", &["stats"])]
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
}
