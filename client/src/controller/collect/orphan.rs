//! What is asked of clusters about one object that may be an orphan, each with a deadline.

use std::time::Duration;

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, PartialObjectMeta, Preconditions, PropagationPolicy,
};
use kube::{Api, ResourceExt};
use tokio::time::timeout;

use super::proof::{self, Identity, Verdict};
use crate::clusters::{Clusters, Member};
use crate::controller::error::Problem;
use crate::controller::key::Key;
use crate::controller::owner::Owner;

/// How long a cluster may take to answer one call.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often what changes under our hands is looked at anew at once.
const TRIES: usize = 3;

/// An object of which the metadata is enough.
pub(in crate::controller) type Meta = PartialObjectMeta<DynamicObject>;

/// What came of looking at an object.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It belongs to nobody of ours, or it is gone or going anyway.
    Settled,
    /// Its owner is there.
    Owned,
    /// It was an orphan.
    Deleted,
    /// It may be one.
    Unproven(String),
    /// It is one.
    Undeleted(Problem),
}

pub(in crate::controller) fn api(
    member: &Member,
    resource: &ApiResource,
    namespace: Option<&str>,
) -> Api<Meta> {
    Api::<Meta>::all_with(member.client(), resource).constrain(namespace.unwrap_or_default())
}

/// The answer to a call, or that there was none.
pub(in crate::controller) async fn answered<T>(
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Problem> {
    match timeout(DEADLINE, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Problem::Deadline(DEADLINE)),
    }
}

/// Deletes an object if its owner is proven to be gone.
pub(super) async fn settle(
    clusters: &Clusters,
    owners: &ApiResource,
    children: &ApiResource,
    child: &Key,
    is_ours: impl Fn(&Owner) -> bool,
) -> Outcome {
    for _ in 0..TRIES {
        let Some(member) = clusters.get(&child.cluster) else { return Outcome::Settled };
        let api = api(&member, children, child.namespace.as_deref());
        let found = match answered(api.get_opt(&child.name)).await {
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_none() => found,
            Ok(_) => return Outcome::Settled,
            Err(problem) => return Outcome::Unproven(problem.to_string()),
        };
        let owner = Owner::of(&found.metadata).filter(|owner| owner.is_a(owners) && is_ours(owner));
        let Some(owner) = owner else { return Outcome::Settled };
        match prove(clusters, owners, &owner).await {
            Verdict::Owned => return Outcome::Owned,
            Verdict::Unproven(problem) => return Outcome::Unproven(problem),
            Verdict::Orphan => {}
        }
        match answered(api.delete(&child.name, &as_seen(&found))).await {
            Ok(_) => return Outcome::Deleted,
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 404 => return Outcome::Settled,
            // It is not what it was: it may have another owner.
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 409 => {}
            Err(problem) => return Outcome::Undeleted(problem),
        }
    }
    Outcome::Unproven("it changes all the time".into())
}

/// Only if it is as it was seen. What belongs to it goes as well, as when Kubernetes collects garbage.
pub(in crate::controller) fn as_seen(object: &Meta) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid: object.uid(), resource_version: object.resource_version() }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    }
}

async fn prove(clusters: &Clusters, owners: &ApiResource, owner: &Owner) -> Verdict {
    let Some(member) = clusters.get(&owner.cluster) else {
        return Verdict::Unproven(format!("{} is not in the set of clusters", owner.cluster));
    };
    let before = identity(&member).await;
    // Without that, what else it says is of no interest.
    if before.as_ref() != Ok(&owner.cluster_uid) {
        return proof::judge(owner, &before, &proof::Answer::Unclear(String::new()), &before);
    }
    // In the version that this controller knows: the one of the annotation may be served no more.
    let api = api(&member, owners, owner.namespace.as_deref());
    let answer = match answered(api.get(&owner.name)).await {
        Ok(found) => proof::answer(owners, &owner.name, Ok(&found.metadata)),
        Err(Problem::Api(error)) => proof::answer(owners, &owner.name, Err(&error)),
        Err(problem) => proof::Answer::Unclear(problem.to_string()),
    };
    let after = identity(&member).await;
    proof::judge(owner, &before, &answer, &after)
}

/// Asked each time: a member remembers what it was once told.
async fn identity(member: &Member) -> Identity {
    answered(member.present_cluster_uid()).await.map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use http::Method;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::fake_server::{Answer, Fake, status};

    const PARENT: &str = "/api/v1/namespaces/default/configmaps/parent";
    const CHILD: &str = "/api/v1/namespaces/default/secrets/child";
    const IDENTITY: &str = "/api/v1/namespaces/kube-system";

    fn object(name: &str, uid: &str) -> Value {
        json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"namespace": "default", "name": name, "uid": uid, "resourceVersion": "7"},
        })
    }

    fn child_of(owner: &str) -> Value {
        let mut parent = ConfigMap::default();
        parent.metadata.namespace = Some("default".into());
        parent.metadata.name = Some("parent".into());
        parent.metadata.uid = Some(owner.into());
        let mut child = Secret::default();
        Owner::new("c1", "identity", &parent, &()).unwrap().mark(&mut child);
        let mut value = object("child", "child-uid");
        value["metadata"]["labels"] = json!(child.metadata.labels);
        value["metadata"]["annotations"] = json!(child.metadata.annotations);
        value
    }

    fn gone() -> Answer {
        Answer::Json(404, status(404, "NotFound", "configmaps", "parent"))
    }

    fn is(uid: &str) -> Answer {
        Answer::Json(200, object("kube-system", uid))
    }

    /// What comes of a child, and how often it was deleted.
    async fn settled(c1: &Fake, c2: &Fake) -> (&'static str, usize) {
        let clusters = Clusters::fixed([("c1", c1.client()), ("c2", c2.client())]);
        let (owners, children) = (ApiResource::erase::<ConfigMap>(&()), ApiResource::erase::<Secret>(&()));
        let child = Key::new("c2", Some("default"), "child");
        let outcome = match settle(&clusters, &owners, &children, &child, |_| true).await {
            Outcome::Settled => "settled",
            Outcome::Owned => "owned",
            Outcome::Deleted => "deleted",
            Outcome::Unproven(_) => "unproven",
            Outcome::Undeleted(_) => "undeleted",
        };
        let asked = [c1.requests(), c2.requests()].concat();
        (outcome, asked.iter().filter(|request| request.starts_with("DELETE")).count())
    }

    #[rstest]
    #[case::gone(is("identity"), gone(), "deleted")]
    #[case::replaced(is("identity"), Answer::Json(200, object("parent", "other")), "deleted")]
    #[case::there(is("identity"), Answer::Json(200, object("parent", "u")), "owned")]
    #[case::kind_not_served(is("identity"), Answer::Text(404, "404 page not found\n"), "unproven")]
    #[case::forbidden(
        is("identity"),
        Answer::Json(403, status(403, "Forbidden", "configmaps", "parent")),
        "unproven"
    )]
    #[case::no_kubernetes(is("identity"), Answer::Text(200, "<html>"), "unproven")]
    #[case::hangs(is("identity"), Answer::Never, "unproven")]
    #[case::another_cluster(is("other"), gone(), "unproven")]
    #[case::no_identity(
        Answer::Json(403, status(403, "Forbidden", "namespaces", "kube-system")),
        gone(),
        "unproven"
    )]
    #[tokio::test(start_paused = true)]
    async fn only_a_proven_orphan_is_deleted(
        #[case] identity: Answer,
        #[case] parent: Answer,
        #[case] outcome: &'static str,
    ) {
        let (c1, c2) = (Fake::with(&[]), Fake::with(&[]));
        c1.answer(Method::GET, IDENTITY, identity);
        c1.answer(Method::GET, PARENT, parent);
        c2.answer(Method::GET, CHILD, Answer::Json(200, child_of("u")));
        c2.answer(Method::DELETE, CHILD, Answer::Json(200, object("child", "child-uid")));
        assert_eq!(settled(&c1, &c2).await, (outcome, usize::from(outcome == "deleted")));
        let deletes = c2.requests();
        let conditions = deletes.iter().filter(|request| request.starts_with("DELETE")).all(|request| {
            request.contains(r#""resourceVersion":"7""#) && request.contains(r#""uid":"child-uid""#)
        });
        assert!(conditions, "{deletes:?}");
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_meanwhile_proves_nothing() {
        let (c1, c2) = (Fake::with(&[]), Fake::with(&[]));
        for uid in ["identity", "other"] {
            c1.answer(Method::GET, IDENTITY, is(uid));
        }
        c1.answer(Method::GET, PARENT, gone());
        c2.answer(Method::GET, CHILD, Answer::Json(200, child_of("u")));
        assert_eq!(settled(&c1, &c2).await, ("unproven", 0));
    }

    #[tokio::test]
    async fn what_changed_is_looked_at_anew() {
        let (c1, c2) = (Fake::with(&[]), Fake::with(&[]));
        c1.answer(Method::GET, IDENTITY, is("identity"));
        c1.answer(Method::GET, PARENT, Answer::Json(200, object("parent", "new")));
        for owner in ["old", "new"] {
            c2.answer(Method::GET, CHILD, Answer::Json(200, child_of(owner)));
        }
        c2.answer(Method::DELETE, CHILD, Answer::Json(409, status(409, "Conflict", "secrets", "child")));
        assert_eq!(settled(&c1, &c2).await, ("owned", 1));
    }

    #[rstest]
    #[case::gone(Answer::Json(404, status(404, "NotFound", "secrets", "child")), "settled")]
    #[case::unmarked(Answer::Json(200, object("child", "child-uid")), "settled")]
    #[case::hangs(Answer::Never, "unproven")]
    #[tokio::test(start_paused = true)]
    async fn what_is_no_child_any_more_is_left_alone(#[case] child: Answer, #[case] outcome: &'static str) {
        let (c1, c2) = (Fake::with(&[]), Fake::with(&[]));
        c2.answer(Method::GET, CHILD, child);
        assert_eq!(settled(&c1, &c2).await, (outcome, 0));
        assert!(c1.requests().is_empty());
    }
}
