//! What the import of a member says. Pure functions.

use mcsa_client::ServiceAccountImport;
use mcsa_client::clusters::Member;
use mcsa_credentials::contract::launch::ARGO;

/// Whether the launch import gives rights to the outputs of Argo's steps.
pub(crate) fn is_granted(member: &Member) -> bool {
    let annotations = member.import().and_then(|import| import.metadata.annotations.clone());
    annotations.is_some_and(|annotations| annotations.get(ARGO).is_some_and(|value| value == "true"))
}

/// Whether the import exists in no API server: its member comes from a Secret of Argo Workflows.
pub(crate) fn is_made_up(import: &ServiceAccountImport) -> bool {
    import.metadata.uid.is_none()
}

/// Whether the member comes from a Secret of Argo Workflows.
pub(crate) fn is_of_secret(member: &Member) -> bool {
    member.import().as_deref().is_some_and(is_made_up)
}

/// Sorts launch imports: those that give rights to the outputs of steps precede. Otherwise the order stays.
pub(crate) fn granted_first(mut imports: Vec<Member>) -> Vec<Member> {
    imports.sort_by_cached_key(|member| !is_granted(member));
    imports
}

#[cfg(test)]
pub(crate) mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use mcsa_client::ServiceAccountImportSpec;
    use mcsa_client::clusters::Clusters;

    use super::*;

    /// Adds a member with an import for pods of namespace `team-a` in namespace `remote` of cluster `c2`. Without a
    /// UID, it is one of a Secret.
    pub(crate) fn join(clusters: &Clusters, name: &str, uid: Option<&str>, is_granted: bool) -> Member {
        let spec = ServiceAccountImportSpec {
            cluster_name: "c2".into(),
            namespace: "remote".into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new(name, spec);
        import.metadata.namespace = Some("team-a".into());
        import.metadata.uid = uid.map(str::to_owned);
        import.metadata.annotations = is_granted.then(|| [(ARGO.to_owned(), "true".to_owned())].into());
        let respond = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
        let client = Client::new(tower::service_fn(respond), "remote");
        clusters.join_as_import(name, client, import).unwrap()
    }

    #[tokio::test]
    async fn launch_imports_with_rights_to_outputs_precede() {
        let clusters = Clusters::fixed::<&str>([]);
        for (name, uid, is_granted) in
            [("a", Some("1"), false), ("b", Some("2"), true), ("c", Some("3"), false), ("d", None, true)]
        {
            join(&clusters, name, uid, is_granted);
        }
        let sorted = granted_first(clusters.imported("team-a", "c2"));
        let names: Vec<_> = sorted.iter().map(|member| &**member.name()).collect();
        assert_eq!(names, ["b", "d", "a", "c"]);
    }
}
