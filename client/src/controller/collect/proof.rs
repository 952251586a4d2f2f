//! Decides whether an object is an orphan: its owner must be proven to be gone.

use kube::Error;
use kube::api::{ApiResource, ObjectMeta};

use crate::controller::owner::Owner;

/// A cluster's response to a GET of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnerLookup {
    /// An object of that name exists and has this UID.
    Found(Option<String>),
    /// The kind is served, and has no object of that name.
    Absent,
    /// Anything else.
    Unclear(String),
}

/// A cluster's UID, or why it could not be read.
pub(super) type Identity = Result<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Owned,
    /// The owner was in this cluster, and is gone.
    Orphan,
    Unproven(String),
}

/// Interprets the result of a GET of the object `name`.
///
/// A 404 also comes from a cluster that does not serve the kind (yet), and from servers that are not API servers. It
/// counts as [`OwnerLookup::Absent`] only if its details name this very object.
pub(super) fn lookup(resource: &ApiResource, name: &str, result: Result<&ObjectMeta, &Error>) -> OwnerLookup {
    let status = match result {
        Ok(meta) => return OwnerLookup::Found(meta.uid.clone()),
        Err(Error::Api(status)) => status,
        Err(error) => return OwnerLookup::Unclear(error.to_string()),
    };
    let names_object = status.details.as_ref().is_some_and(|details| {
        details.name == name && details.kind == resource.plural && details.group == resource.group
    });
    if status.code == 404 && status.reason == "NotFound" && names_object {
        return OwnerLookup::Absent;
    }
    OwnerLookup::Unclear(status.to_string())
}

/// Decides whether an object with this owner is an orphan. `before` and `after` are the cluster's identity before and
/// after the lookup: the member's name may point to another cluster from one request to the next.
pub(super) fn judge(owner: &Owner, before: &Identity, lookup: &OwnerLookup, after: &Identity) -> Verdict {
    for identity in [before, after] {
        match identity {
            Ok(uid) if *uid == owner.cluster_uid => {}
            Ok(_) => return Verdict::Unproven(format!("{} is another cluster now", owner.cluster)),
            Err(problem) => {
                return Verdict::Unproven(format!(
                    "cannot read the UID of cluster {}: {problem}",
                    owner.cluster
                ));
            }
        }
    }
    match lookup {
        OwnerLookup::Found(Some(uid)) if *uid == owner.uid => Verdict::Owned,
        OwnerLookup::Found(Some(_)) | OwnerLookup::Absent => Verdict::Orphan,
        OwnerLookup::Found(None) => Verdict::Unproven("the object with the owner's name has no UID".into()),
        OwnerLookup::Unclear(problem) => {
            Verdict::Unproven(format!("cannot look up the owner in cluster {}: {problem}", owner.cluster))
        }
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
    #[case::gone(is("cluster"), OwnerLookup::Absent, is("cluster"), Some(true))]
    #[case::replaced(is("cluster"), OwnerLookup::Found(Some("other".into())), is("cluster"), Some(true))]
    #[case::exists(is("cluster"), OwnerLookup::Found(Some("u".into())), is("cluster"), Some(false))]
    #[case::no_uid(is("cluster"), OwnerLookup::Found(None), is("cluster"), None)]
    #[case::unclear(is("cluster"), OwnerLookup::Unclear("403".into()), is("cluster"), None)]
    #[case::other_before(is("other"), OwnerLookup::Absent, is("cluster"), None)]
    #[case::other_after(is("cluster"), OwnerLookup::Absent, is("other"), None)]
    #[case::other_with_the_owner(is("other"), OwnerLookup::Found(Some("u".into())), is("other"), None)]
    #[case::unreadable_before(Err("403".into()), OwnerLookup::Absent, is("cluster"), None)]
    #[case::unreadable_after(is("cluster"), OwnerLookup::Absent, Err("timeout".into()), None)]
    fn only_proof_makes_an_orphan(
        #[case] before: Identity,
        #[case] lookup: OwnerLookup,
        #[case] after: Identity,
        #[case] is_orphan: Option<bool>,
    ) {
        let verdict = match judge(&owner(), &before, &lookup, &after) {
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
    #[case::of_the_object(status(404, "NotFound", "a", "configmaps", ""), true)]
    #[case::of_another(status(404, "NotFound", "b", "configmaps", ""), false)]
    #[case::of_its_namespace(status(404, "NotFound", "default", "namespaces", ""), false)]
    #[case::of_another_group(status(404, "NotFound", "a", "configmaps", "example.com"), false)]
    #[case::of_nothing(Error::Api(Status::failure("", "NotFound").with_code(404).boxed()), false)]
    #[case::not_served(Error::Api(Status::failure("404 page not found", "Failed to parse error data").with_code(404).boxed()), false)]
    #[case::forbidden(status(403, "Forbidden", "a", "configmaps", ""), false)]
    #[case::unauthorized(status(401, "Unauthorized", "a", "configmaps", ""), false)]
    #[case::broken(status(500, "InternalError", "a", "configmaps", ""), false)]
    #[case::unreachable(Error::Service("connection refused".into()), false)]
    fn not_found_counts_only_if_it_names_the_object(#[case] error: Error, #[case] is_absent: bool) {
        let resource = ApiResource::erase::<ConfigMap>(&());
        assert_eq!(lookup(&resource, "a", Err(&error)) == OwnerLookup::Absent, is_absent);
    }
}
