//! Whether an object is an orphan. What is not proven is not so.

use kube::Error;
use kube::api::{ApiResource, ObjectMeta};

use crate::controller::owner::Owner;

/// What a cluster says when it is asked for an owner, live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is one of that name, with this UID.
    Found(Option<String>),
    /// There is none of that name, and such objects are served.
    Absent,
    /// Anything else.
    Unclear(String),
}

/// What it says of itself, before and after that: its identity.
pub(super) type Identity = Result<String, String>;

/// What follows for the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its owner is there.
    Owned,
    /// Its owner was in this very cluster, and is no more.
    Orphan,
    /// It can't be told.
    Unproven(String),
}

/// The answer to a request for the object `name`.
///
/// "Not found" is also what is answered for a kind that is not served, by a cluster whose CRDs are not there
/// yet, or by anything that is no API server: it counts only if it is said of this very object.
pub(super) fn answer(resource: &ApiResource, name: &str, said: Result<&ObjectMeta, &Error>) -> Answer {
    let status = match said {
        Ok(meta) => return Answer::Found(meta.uid.clone()),
        Err(Error::Api(status)) => status,
        Err(error) => return Answer::Unclear(error.to_string()),
    };
    let is_of_it = status.details.as_ref().is_some_and(|details| {
        details.name == name && details.kind == resource.plural && details.group == resource.group
    });
    if status.code == 404 && status.reason == "NotFound" && is_of_it {
        return Answer::Absent;
    }
    Answer::Unclear(status.to_string())
}

/// Whether an object with this owner is an orphan. The identity is asked for before and after, as a name may
/// lead to another cluster from one call to the next.
pub(super) fn judge(owner: &Owner, before: &Identity, answer: &Answer, after: &Identity) -> Verdict {
    for identity in [before, after] {
        match identity {
            Ok(uid) if *uid == owner.cluster_uid => {}
            Ok(_) => return Verdict::Unproven(format!("{} is another cluster now", owner.cluster)),
            Err(problem) => {
                return Verdict::Unproven(format!(
                    "cluster {} does not say who it is: {problem}",
                    owner.cluster
                ));
            }
        }
    }
    match answer {
        Answer::Found(Some(uid)) if *uid == owner.uid => Verdict::Owned,
        Answer::Found(Some(_)) | Answer::Absent => Verdict::Orphan,
        Answer::Found(None) => Verdict::Unproven("the object under the owner's name has no UID".into()),
        Answer::Unclear(problem) => Verdict::Unproven(format!(
            "cluster {} does not say whether the owner is there: {problem}",
            owner.cluster
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;
    use kube::core::response::StatusDetails;
    use rstest::rstest;

    fn owner() -> Owner {
        Owner {
            cluster: "c1".into(),
            cluster_uid: "cluster".into(),
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: Some("default".into()),
            name: "a".into(),
            uid: "u".into(),
        }
    }

    fn is(uid: &str) -> Identity {
        Ok(uid.into())
    }

    #[rstest]
    #[case::gone(is("cluster"), Answer::Absent, is("cluster"), Some(true))]
    #[case::replaced(is("cluster"), Answer::Found(Some("other".into())), is("cluster"), Some(true))]
    #[case::there(is("cluster"), Answer::Found(Some("u".into())), is("cluster"), Some(false))]
    #[case::no_uid(is("cluster"), Answer::Found(None), is("cluster"), None)]
    #[case::unclear(is("cluster"), Answer::Unclear("403".into()), is("cluster"), None)]
    #[case::other_before(is("other"), Answer::Absent, is("cluster"), None)]
    #[case::other_after(is("cluster"), Answer::Absent, is("other"), None)]
    #[case::other_that_has_it(is("other"), Answer::Found(Some("u".into())), is("other"), None)]
    #[case::silent_before(Err("403".into()), Answer::Absent, is("cluster"), None)]
    #[case::silent_after(is("cluster"), Answer::Absent, Err("timeout".into()), None)]
    fn only_what_is_proven_is_an_orphan(
        #[case] before: Identity,
        #[case] answer: Answer,
        #[case] after: Identity,
        #[case] is_orphan: Option<bool>,
    ) {
        let verdict = match judge(&owner(), &before, &answer, &after) {
            Verdict::Orphan => Some(true),
            Verdict::Owned => Some(false),
            Verdict::Unproven(_) => None,
        };
        assert_eq!(verdict, is_orphan);
    }

    fn status(code: u16, reason: &str, name: &str, kind: &str, group: &str) -> Error {
        let details = StatusDetails {
            name: name.into(),
            group: group.into(),
            kind: kind.into(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        Error::Api(Status::failure("", reason).with_code(code).with_details(details).boxed())
    }

    #[rstest]
    #[case::of_it(status(404, "NotFound", "a", "configmaps", ""), true)]
    #[case::of_another(status(404, "NotFound", "b", "configmaps", ""), false)]
    #[case::of_its_namespace(status(404, "NotFound", "default", "namespaces", ""), false)]
    #[case::of_another_group(status(404, "NotFound", "a", "configmaps", "example.com"), false)]
    #[case::of_nothing(Error::Api(Status::failure("", "NotFound").with_code(404).boxed()), false)]
    #[case::not_served(Error::Api(Status::failure("404 page not found", "Failed to parse error data").with_code(404).boxed()), false)]
    #[case::forbidden(status(403, "Forbidden", "a", "configmaps", ""), false)]
    #[case::unauthorized(status(401, "Unauthorized", "a", "configmaps", ""), false)]
    #[case::broken(status(500, "InternalError", "a", "configmaps", ""), false)]
    #[case::away(Error::Service("connection refused".into()), false)]
    fn not_found_counts_only_of_the_object(#[case] error: Error, #[case] is_absent: bool) {
        let resource = ApiResource::erase::<ConfigMap>(&());
        assert_eq!(answer(&resource, "a", Err(&error)) == Answer::Absent, is_absent);
    }
}
