//! The finalizer that keeps an object until no member has children of it.
//!
//! It is added before the object is first reconciled. Once the object is being deleted, its children are deleted. When
//! live lists of all members contain no children, the finalizer is removed. While imports may be missing from the set,
//! it is kept.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::api::{ApiResource, ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

use super::call::{api, delete_unchanged, with_deadline};
use super::collect::OwnedKind;
use super::error::Problem;
use super::key::Key;
use super::owner::{Owner, selector_of};
use super::served::is_served;
use super::target::NamespaceOf;
use crate::clusters::{Clusters, Health, Member};

/// Delay before children that are being deleted are listed again. Usually an event comes first.
const RECHECK_DELAY: Duration = Duration::from_secs(5);

/// Delay before retrying after a conflict. Usually the event of the other change comes first.
const CONFLICT_DELAY: Duration = Duration::from_secs(1);

/// How long to wait for clusters that have not joined yet, before the finalizer is blocked.
const SYNC_DEADLINE: Duration = Duration::from_secs(10);

/// Children per page of a list.
const PAGE_SIZE: u32 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Reconcile,
    /// Add the finalizer before reconciling the object.
    Add,
    /// The object is being deleted: delete its children, then remove the finalizer.
    CleanUp,
    /// The object is being deleted without our finalizer.
    Ignore,
}

/// Check again after an event, or after this delay.
pub(super) type NextCheck = Option<Duration>;

/// The cluster that blocks, and why.
pub(super) type Blocked = (Arc<str>, Problem);

pub(super) struct Finalizer {
    pub(super) name: Arc<str>,
    pub(super) clusters: Clusters,
    pub(super) namespace_of: NamespaceOf,
    pub(super) owned: Vec<OwnedKind>,
    pub(super) resource: ApiResource,
}

pub(super) fn step(meta: &ObjectMeta, finalizer: &str) -> Step {
    let has_finalizer = meta.finalizers.iter().flatten().any(|name| name == finalizer);
    match (meta.deletion_timestamp.is_some(), has_finalizer) {
        (false, true) => Step::Reconcile,
        (false, false) => Step::Add,
        (true, true) => Step::CleanUp,
        (true, false) => Step::Ignore,
    }
}

impl Finalizer {
    pub(super) async fn add(
        &self,
        member: &Member,
        key: &Key,
        meta: &ObjectMeta,
    ) -> Result<NextCheck, Blocked> {
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        finalizers.push(self.name.to_string());
        self.write(member, key, meta, finalizers).await
    }

    /// Deletes the children of an object, and removes the finalizer once there are none.
    pub(super) async fn clean_up<K: Resource>(
        &self,
        member: &Member,
        key: &Key,
        object: &K,
    ) -> Result<NextCheck, Blocked> {
        let meta = object.meta();
        let Some(uid) = &meta.uid else { return Ok(None) };
        // Before the members are read: a cluster that has not joined yet may have children, too.
        let is_synced = timeout(SYNC_DEADLINE, self.clusters.wait_until_synced()).await.is_ok();
        let members = self.clusters.members();
        let pairs = members.iter().flat_map(|member| self.owned.iter().map(move |owned| (member, owned)));
        let pairs = pairs.filter(|(member, owned)| (owned.members)(member));
        let left = pairs.map(|(member, owned)| async move {
            let left = self.delete_children(member, owned, uid).await;
            left.map_err(|problem| (member.name().clone(), problem))
        });
        // Concurrently, so that an unreachable member does not delay the others.
        let left: Vec<_> = join_all(left).await.into_iter().collect::<Result<_, _>>()?;
        if left.into_iter().any(|left| left > 0) {
            return Ok(Some(RECHECK_DELAY));
        }
        if !is_synced {
            return Err((member.name().clone(), Problem::NotSynced));
        }
        let others = meta.finalizers.iter().flatten().filter(|name| **name != *self.name);
        self.write(member, key, meta, others.cloned().collect()).await
    }

    /// Fails if the object has changed, so that no other finalizer is lost.
    async fn write(
        &self,
        member: &Member,
        key: &Key,
        meta: &ObjectMeta,
        finalizers: Vec<String>,
    ) -> Result<NextCheck, Blocked> {
        let patch = json!({"metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "finalizers": finalizers,
        }});
        let api = api(member, &self.resource, key.namespace.as_deref());
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        match with_deadline(api.patch(&key.name, &params, &patch)).await {
            Ok(_) => Ok(None),
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Err(Problem::Api(kube::Error::Api(status))) if status.code == 409 => Ok(Some(CONFLICT_DELAY)),
            Err(problem) => Err((member.name().clone(), problem)),
        }
    }

    /// Returns how many children of a kind a cluster still has.
    async fn delete_children(&self, member: &Member, owned: &OwnedKind, uid: &str) -> Result<usize, Problem> {
        if let Health::Unavailable { problem, .. } = member.health() {
            return Err(Problem::Unavailable(problem));
        }
        let api = owned.api(member, (self.namespace_of)(member).as_deref());
        let mut params = ListParams::default().labels(&selector_of(uid)).limit(PAGE_SIZE);
        let mut left = 0;
        loop {
            let list = match with_deadline(api.list(&params)).await {
                Ok(list) => list,
                Err(Problem::Api(kube::Error::Api(status))) if status.code == 404 => {
                    // A kind that is not served has no objects. Children that appear once it is served are orphans.
                    return match is_served(member, &owned.resource).await? {
                        true => Err(Problem::Api(kube::Error::Api(status))),
                        false => Ok(0),
                    };
                }
                Err(problem) => return Err(problem),
            };
            for child in &list.items {
                let owner = Owner::from_metadata(&child.metadata);
                if !owner.is_some_and(|owner| owner.uid == uid && owner.is_a(&self.resource)) {
                    continue;
                }
                left += 1;
                if child.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                let api = self::api(member, &owned.resource, child.metadata.namespace.as_deref());
                match with_deadline(api.delete(&child.name_any(), &delete_unchanged(child))).await {
                    Ok(_) => {}
                    Err(Problem::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
                    Err(problem) => return Err(problem),
                }
            }
            params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use kube::core::GroupVersionKind;
    use rstest::rstest;

    use super::super::fake_server::{FakeResponse, FakeServer, identity_is};
    use super::*;
    use crate::clusters::Imports;

    #[rstest]
    #[case(false, &["other"], Step::Add)]
    #[case(false, &["other", "ours"], Step::Reconcile)]
    #[case(true, &["ours"], Step::CleanUp)]
    #[case(true, &["other"], Step::Ignore)]
    fn the_step_follows_from_deletion_and_finalizers(
        #[case] is_deleted: bool,
        #[case] finalizers: &[&str],
        #[case] expected: Step,
    ) {
        let meta: ObjectMeta = serde_json::from_value(json!({
            "finalizers": finalizers,
            "deletionTimestamp": is_deleted.then_some("2026-01-01T00:00:00Z"),
        }))
        .unwrap();
        assert_eq!(step(&meta, "ours"), expected);
    }

    /// A finalizer for ConfigMaps with Secrets as children.
    fn finalizer(clusters: &Clusters, namespace_of: NamespaceOf) -> Finalizer {
        finalizer_of(clusters, namespace_of, ApiResource::erase::<Secret>(&()))
    }

    fn finalizer_of(clusters: &Clusters, namespace_of: NamespaceOf, resource: ApiResource) -> Finalizer {
        Finalizer {
            name: "example.com/children".into(),
            clusters: clusters.clone(),
            namespace_of,
            owned: vec![OwnedKind {
                kind: resource.kind.as_str().into(),
                resource,
                is_namespaced: true,
                members: Arc::new(|member| &**member.name() != "c3"),
            }],
            resource: ApiResource::erase::<ConfigMap>(&()),
        }
    }

    async fn clean_up(finalizer: &Finalizer) -> Result<NextCheck, Blocked> {
        let member = finalizer.clusters.get("c1").unwrap();
        let mut object = ConfigMap::default();
        object.metadata.uid = Some("u".into());
        finalizer.clean_up(&member, &Key::new("c1", Some("default"), "a"), &object).await
    }

    #[tokio::test]
    async fn children_are_listed_in_the_namespace_of_each_selected_member() {
        let (c1, c2, c3) = (FakeServer::with(&[]), FakeServer::with(&[]), FakeServer::with(&[]));
        let clusters = Clusters::fixed([("c1", c1.client()), ("c2", c2.client()), ("c3", c3.client())]);
        let namespace_of = |member: &Member| (&**member.name() == "c2").then(|| "its-own".to_owned());
        assert_eq!(clean_up(&finalizer(&clusters, Arc::new(namespace_of))).await.unwrap(), None);
        c1.requested("GET /api/v1/secrets").await;
        c2.requested("GET /api/v1/namespaces/its-own/secrets").await;
        assert!(c3.requests().is_empty(), "{:?}", c3.requests());
    }

    fn groups(groups: &[&str]) -> FakeResponse {
        let group = |name| {
            let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
            json!({"name": name, "versions": [version]})
        };
        let groups: Vec<_> = groups.iter().map(group).collect();
        FakeResponse::Json(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
    }

    fn resources(plurals: &[&str]) -> FakeResponse {
        let resource = |name: &&str| json!({"name": name, "kind": "Any", "namespaced": true, "singularName": "", "verbs": ["list"]});
        let resources: Vec<_> = plurals.iter().map(resource).collect();
        let (kind, version) = ("APIResourceList", "example.com/v1");
        FakeResponse::Json(200, json!({"kind": kind, "groupVersion": version, "resources": resources}))
    }

    fn not_found() -> FakeResponse {
        FakeResponse::Text(404, "404 page not found\n")
    }

    #[rstest]
    #[case::group_not_served(groups(&["other.com"]), not_found(), "uid", true)]
    #[case::kind_not_served(groups(&["example.com"]), resources(&["others"]), "uid", true)]
    #[case::kind_served(groups(&["example.com"]), resources(&["children"]), "uid", false)]
    #[case::ingress(FakeResponse::Text(404, "default backend - 404"), not_found(), "uid", false)]
    #[case::ingress_with_html(FakeResponse::Text(200, "<h1>sorry</h1>"), not_found(), "uid", false)]
    #[case::another_cluster(groups(&["other.com"]), not_found(), "another", false)]
    #[tokio::test]
    async fn the_finalizer_is_removed_after_a_404_only_if_the_kind_is_not_served(
        #[case] groups: FakeResponse,
        #[case] resources: FakeResponse,
        #[case] uid_afterwards: &str,
        #[case] is_released: bool,
    ) {
        let (c1, c2) = (FakeServer::with(&[]), FakeServer::with(&[]));
        let mut child = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Child"));
        child.plural = "children".into();
        c2.respond_with(Method::GET, "/apis/example.com/v1/children", not_found());
        c2.respond_with(Method::GET, "/apis", groups);
        c2.respond_with(Method::GET, "/apis/example.com/v1", resources);
        for uid in ["uid", uid_afterwards] {
            c2.respond_with(Method::GET, "/api/v1/namespaces/kube-system", identity_is(uid));
        }
        let clusters = Clusters::fixed([("c1", c1.client()), ("c2", c2.client())]);
        let result = clean_up(&finalizer_of(&clusters, Arc::new(|_| None), child)).await;
        assert_eq!(result.is_ok(), is_released, "{result:?}");
        let is_patched = c1.requests().iter().any(|request| request.starts_with("PATCH"));
        assert_eq!(is_patched, is_released);
    }

    #[tokio::test(start_paused = true)]
    async fn the_finalizer_is_kept_while_imports_are_not_listed() {
        let (c1, home) = (FakeServer::with(&[]), FakeServer::with(&[]));
        home.refuse(403);
        let imports = Imports::in_all_namespaces(&home.client());
        let clusters = Clusters::builder().member("c1", c1.client()).imports(imports).start().unwrap();
        let result = clean_up(&finalizer(&clusters, Arc::new(|_| None))).await;
        assert!(matches!(result, Err((_, Problem::NotSynced))), "{result:?}");
        assert!(!c1.requests().iter().any(|request| request.starts_with("PATCH")));
    }
}
