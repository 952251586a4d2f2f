//! What else is in a namespace, before it is deleted with all of its contents.

use std::collections::BTreeSet;

use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta, TypeMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, ResourceExt};
use mcsa_runtime::errors;

use crate::cluster::deleter::Deleter;
use crate::cluster::{list, object};

/// Objects that Kubernetes creates in every namespace.
const CREATED_BY_KUBERNETES: [(&str, &str); 2] =
    [("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")];

/// Events expire by themselves, and Endpoints are deleted with their Service.
const DERIVED: [&str; 2] = ["Event", "Endpoints"];

/// Longer lists are cut.
const MAX_NAMES: usize = 5;

/// Lists what a namespace contains besides what the deleter has deleted, as text; `None`: nothing. Fails if a kind can't
/// be listed.
pub(crate) async fn others(deleter: &Deleter, namespace: &str) -> anyhow::Result<Option<String>> {
    let cluster = &deleter.cluster;
    // Without a deadline, because it sends a request for each API group.
    let discovery = Discovery::new(cluster.client.clone()).run().await.map_err(|error| {
        let cause = errors::line(&error);
        anyhow::anyhow!("{}: can't list the kinds of the API server: {cause}", cluster.name)
    })?;
    let kinds = discovery.groups().flat_map(|group| group.resources_by_stability());
    let kinds: Vec<_> = kinds
        .filter(|(_, capabilities)| capabilities.scope == Scope::Namespaced)
        .filter(|(_, kind)| [verbs::LIST, verbs::DELETE].iter().all(|verb| kind.supports_operation(verb)))
        .map(|(kind, _)| kind)
        .collect();
    let namespaced: BTreeSet<_> =
        kinds.iter().map(|kind| (kind.group.as_str(), kind.kind.as_str())).collect();
    let mut found = Vec::new();
    for kind in kinds.iter().filter(|kind| !DERIVED.contains(&kind.kind.as_str())) {
        let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, kind);
        let page = async |params: &ListParams| api.list_metadata(params).await;
        let doing = format!("list the {}s of the namespace", object::words(&kind.kind));
        match list::pages(cluster, &doing, ListParams::default(), page).await {
            Ok(objects) => found.extend(objects.into_iter().map(|it| listed(kind, it.metadata))),
            // The CRD was deleted meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let others = found.iter().filter(|object| is_other(object, &namespaced)).map(object::reference);
    // Outside of a dry run, a deleted object that exists again is someone else's.
    let others = others.filter(|reference| !(deleter.dry_run && deleter.has_recorded(reference)));
    Ok(text(&others.collect::<Vec<_>>()))
}

fn listed(kind: &ApiResource, metadata: ObjectMeta) -> DynamicObject {
    let types = TypeMeta { api_version: kind.api_version.clone(), kind: kind.kind.clone() };
    DynamicObject { types: Some(types), metadata, data: Default::default() }
}

/// Whether an object would be lost. Objects with owners are not: they are deleted with their owners, which are listed,
/// too, if their kind is in `namespaced`.
fn is_other(object: &DynamicObject, namespaced: &BTreeSet<(&str, &str)>) -> bool {
    let owners = object.owner_references();
    let is_listed = |group: &str, kind: &str| namespaced.contains(&(group, kind));
    let are_owners_listed = !owners.is_empty()
        && owners.iter().all(|owner| {
            let (group, _) = owner.api_version.split_once('/').unwrap_or(("", ""));
            is_listed(group, &owner.kind)
        });
    let of_kubernetes = CREATED_BY_KUBERNETES.contains(&(object::kind(object), object.name_any().as_str()));
    object.metadata.deletion_timestamp.is_none() && !are_owners_listed && !of_kubernetes
}

fn text(references: &[String]) -> Option<String> {
    let listed = references.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match references.len() {
        0 => None,
        count if count > MAX_NAMES => Some(format!("{listed} and {} more", count - MAX_NAMES)),
        _ => Some(listed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::secret("v1, kind: Secret", "name: mine", true)]
    #[case::default_service_account("v1, kind: ServiceAccount", "name: default", false)]
    #[case::secret_with_that_name("v1, kind: Secret", "name: default", true)]
    #[case::of_kubernetes("v1, kind: ConfigMap", "name: kube-root-ca.crt", false)]
    #[case::terminating("v1, kind: Secret", "name: mine, deletionTimestamp: '2026-01-01T00:00:00Z'", false)]
    #[case::pod_of_a_replica_set(
        "v1, kind: Pod",
        "name: mine, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: o, uid: u}]",
        false
    )]
    #[case::secret_of_a_secret(
        "v1, kind: Secret",
        "name: mine, ownerReferences: [{apiVersion: v1, kind: Secret, name: o, uid: u}]",
        false
    )]
    #[case::pod_of_a_node(
        "v1, kind: Pod",
        "name: mine, ownerReferences: [{apiVersion: v1, kind: Node, name: o, uid: u}]",
        true
    )]
    #[case::owner_of_an_unknown_kind(
        "v1, kind: Secret",
        "name: mine, ownerReferences: [{apiVersion: example.com/v1, kind: ReplicaSet, name: o, uid: u}]",
        true
    )]
    fn objects_that_would_be_lost_are_others(
        #[case] types: &str,
        #[case] metadata: &str,
        #[case] expected: bool,
    ) {
        let text = format!("{{apiVersion: {types}, metadata: {{{metadata}}}}}");
        let object = object::parse(&text).unwrap().remove(0);
        let namespaced = [("", "Secret"), ("apps", "ReplicaSet")].into();
        assert_eq!(is_other(&object, &namespaced), expected);
    }

    #[test]
    fn long_list_is_cut() {
        let names = |count: usize| (0..count).map(|i| format!("secret/s{i}")).collect::<Vec<_>>();
        assert_eq!(text(&names(0)), None);
        assert_eq!(text(&names(2)).as_deref(), Some("secret/s0, secret/s1"));
        assert!(text(&names(7)).unwrap().ends_with("secret/s4 and 2 more"));
    }
}
