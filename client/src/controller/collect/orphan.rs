//! Checks one object with live requests, and deletes it if it is an orphan.

use kube::api::ApiResource;

use super::proof::{self, Identity, OwnerLookup, Verdict};
use crate::clusters::{Clusters, Member};
use crate::controller::call::{api, delete_unchanged, with_deadline};
use crate::controller::error::Problem;
use crate::controller::key::Key;
use crate::controller::owner::Owner;

/// Maximum number of checks in a row, if the object changes during each of them. After that, the suspect backs off.
const TRIES: usize = 3;

#[derive(Debug)]
pub(super) enum Outcome {
    /// The object has no owner of this controller, or is gone or being deleted.
    Unowned,
    /// The owner exists.
    Owned,
    /// The object was an orphan.
    Deleted,
    /// The object may be an orphan.
    Unproven(String),
    /// The object is an orphan, and deleting it failed.
    DeleteFailed(Problem),
}

/// Where an owner is.
#[derive(Debug)]
pub(super) enum OwnerCluster {
    Member(Member),
    /// Nothing can be proven.
    NotAMember,
    /// Another controller reconciles the owner.
    NotOurs,
}

/// Deletes an object if its owner is proven to be gone. `find` finds the owner's cluster.
pub(super) async fn delete_if_orphan(
    clusters: &Clusters,
    owners: &ApiResource,
    children: &ApiResource,
    child: &Key,
    find: impl Fn(&Owner) -> OwnerCluster,
) -> Outcome {
    for _ in 0..TRIES {
        let Some(member) = clusters.get(&child.cluster) else { return Outcome::Unowned };
        let api = api(&member, children, child.namespace.as_deref());
        let found = match with_deadline(api.get_opt(&child.name)).await {
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_none() => found,
            Ok(_) => return Outcome::Unowned,
            Err(problem) => return Outcome::Unproven(problem.to_string()),
        };
        let owner = Owner::from_metadata(&found.metadata).filter(|owner| owner.is_a(owners));
        let Some(owner) = owner else { return Outcome::Unowned };
        let member = match find(&owner) {
            OwnerCluster::Member(member) => member,
            OwnerCluster::NotAMember => {
                return Outcome::Unproven(format!("cluster {} is not a member", owner.cluster));
            }
            OwnerCluster::NotOurs => return Outcome::Unowned,
        };
        match prove(&member, owners, &owner).await {
            Verdict::Owned => return Outcome::Owned,
            Verdict::Unproven(problem) => return Outcome::Unproven(problem),
            Verdict::Orphan => {}
        }
        match with_deadline(api.delete(&child.name, &delete_unchanged(&found))).await {
            Ok(_) => return Outcome::Deleted,
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 404 => return Outcome::Unowned,
            // The object has changed, and may have another owner now.
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 409 => {}
            Err(problem) => return Outcome::DeleteFailed(problem),
        }
    }
    Outcome::Unproven("the object changed during each check".into())
}

async fn prove(member: &Member, owners: &ApiResource, owner: &Owner) -> Verdict {
    let before = identity(member).await;
    // Without the right identity, any response is Unproven: don't ask for the owner.
    if before.as_ref() != Ok(&owner.cluster_uid) {
        return proof::judge(owner, &before, &OwnerLookup::Unclear(String::new()), &before);
    }
    // With the controller's API version, because the cluster may no longer serve the version in the annotation.
    let api = api(member, owners, owner.namespace.as_deref());
    let lookup = match with_deadline(api.get(&owner.name)).await {
        Ok(found) => proof::lookup(owners, &owner.name, Ok(&found.metadata)),
        Err(Problem::Api(error)) => proof::lookup(owners, &owner.name, Err(&error)),
        Err(problem) => OwnerLookup::Unclear(problem.to_string()),
    };
    let after = identity(member).await;
    proof::judge(owner, &before, &lookup, &after)
}

/// Fetched each time, because [`Member`] caches its UID.
async fn identity(member: &Member) -> Identity {
    with_deadline(member.fetch_cluster_uid()).await.map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use http::Method;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use rstest::rstest;

    use super::*;
    use crate::controller::fake_server::{FakeResponse, FakeServer, child_of, identity_is, object, status};

    const PARENT: &str = "/api/v1/namespaces/default/configmaps/parent";
    const CHILD: &str = "/api/v1/namespaces/default/secrets/child";
    const IDENTITY: &str = "/api/v1/namespaces/kube-system";

    fn gone() -> FakeResponse {
        FakeResponse::Json(404, status(404, "NotFound", "configmaps", "parent"))
    }

    /// The outcome for a child, and the number of DELETE requests.
    async fn check(c1: &FakeServer, c2: &FakeServer) -> (&'static str, usize) {
        let clusters = Clusters::fixed([("c1", c1.client()), ("c2", c2.client())]);
        let (owners, children) = (ApiResource::erase::<ConfigMap>(&()), ApiResource::erase::<Secret>(&()));
        let child = Key::new("c2", Some("default"), "child");
        let find = |owner: &Owner| OwnerCluster::Member(clusters.get(&owner.cluster).unwrap());
        let outcome = match delete_if_orphan(&clusters, &owners, &children, &child, find).await {
            Outcome::Unowned => "unowned",
            Outcome::Owned => "owned",
            Outcome::Deleted => "deleted",
            Outcome::Unproven(_) => "unproven",
            Outcome::DeleteFailed(_) => "delete failed",
        };
        let requests = [c1.requests(), c2.requests()].concat();
        (outcome, requests.iter().filter(|request| request.starts_with("DELETE")).count())
    }

    #[rstest]
    #[case::gone(identity_is("identity"), gone(), "deleted")]
    #[case::replaced(identity_is("identity"), FakeResponse::Json(200, object("parent", "other")), "deleted")]
    #[case::exists(identity_is("identity"), FakeResponse::Json(200, object("parent", "u")), "owned")]
    #[case::kind_not_served(
        identity_is("identity"),
        FakeResponse::Text(404, "404 page not found\n"),
        "unproven"
    )]
    #[case::forbidden(
        identity_is("identity"),
        FakeResponse::Json(403, status(403, "Forbidden", "configmaps", "parent")),
        "unproven"
    )]
    #[case::no_kubernetes(identity_is("identity"), FakeResponse::Text(200, "<html>"), "unproven")]
    #[case::hangs(identity_is("identity"), FakeResponse::Never, "unproven")]
    #[case::another_cluster(identity_is("other"), gone(), "unproven")]
    #[case::no_identity(
        FakeResponse::Json(403, status(403, "Forbidden", "namespaces", "kube-system")),
        gone(),
        "unproven"
    )]
    #[tokio::test(start_paused = true)]
    async fn only_a_proven_orphan_is_deleted(
        #[case] identity: FakeResponse,
        #[case] parent: FakeResponse,
        #[case] outcome: &'static str,
    ) {
        let (c1, c2) = (FakeServer::with(&[]), FakeServer::with(&[]));
        c1.respond_with(Method::GET, IDENTITY, identity);
        c1.respond_with(Method::GET, PARENT, parent);
        c2.respond_with(Method::GET, CHILD, FakeResponse::Json(200, child_of("u")));
        c2.respond_with(Method::DELETE, CHILD, FakeResponse::Json(200, object("child", "child-uid")));
        assert_eq!(check(&c1, &c2).await, (outcome, usize::from(outcome == "deleted")));
        let deletes = c2.requests();
        let conditions = deletes.iter().filter(|request| request.starts_with("DELETE")).all(|request| {
            request.contains(r#""resourceVersion":"7""#) && request.contains(r#""uid":"child-uid""#)
        });
        assert!(conditions, "{deletes:?}");
    }

    #[tokio::test]
    async fn a_cluster_whose_identity_changes_during_the_check_proves_nothing() {
        let (c1, c2) = (FakeServer::with(&[]), FakeServer::with(&[]));
        for uid in ["identity", "other"] {
            c1.respond_with(Method::GET, IDENTITY, identity_is(uid));
        }
        c1.respond_with(Method::GET, PARENT, gone());
        c2.respond_with(Method::GET, CHILD, FakeResponse::Json(200, child_of("u")));
        assert_eq!(check(&c1, &c2).await, ("unproven", 0));
    }

    #[tokio::test]
    async fn an_object_that_changed_is_checked_again() {
        let (c1, c2) = (FakeServer::with(&[]), FakeServer::with(&[]));
        c1.respond_with(Method::GET, IDENTITY, identity_is("identity"));
        c1.respond_with(Method::GET, PARENT, FakeResponse::Json(200, object("parent", "new")));
        for owner in ["old", "new"] {
            c2.respond_with(Method::GET, CHILD, FakeResponse::Json(200, child_of(owner)));
        }
        c2.respond_with(
            Method::DELETE,
            CHILD,
            FakeResponse::Json(409, status(409, "Conflict", "secrets", "child")),
        );
        assert_eq!(check(&c1, &c2).await, ("owned", 1));
    }

    #[rstest]
    #[case::gone(FakeResponse::Json(404, status(404, "NotFound", "secrets", "child")), "unowned")]
    #[case::no_owner(FakeResponse::Json(200, object("child", "child-uid")), "unowned")]
    #[case::hangs(FakeResponse::Never, "unproven")]
    #[tokio::test(start_paused = true)]
    async fn an_object_without_owner_is_not_deleted(
        #[case] child: FakeResponse,
        #[case] outcome: &'static str,
    ) {
        let (c1, c2) = (FakeServer::with(&[]), FakeServer::with(&[]));
        c2.respond_with(Method::GET, CHILD, child);
        assert_eq!(check(&c1, &c2).await, (outcome, 0));
        assert!(c1.requests().is_empty());
    }
}
