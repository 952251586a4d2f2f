//! What the steps of one source share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ObjectMeta};
use kube::client::{Body, ClientBuilder};
use kube::core::Request;
use kube::{Api, Client, Resource};
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::controller::{Key, Owner, Stores};
use mcsa_credentials::contract::launch::FIELD_MANAGER;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::lease::Fence;
use tower::service_fn;

use crate::argo::leftovers::Leftovers;
use crate::argo::steps::Steps;
use crate::argo::task_results;
use crate::event::Events;
use crate::launch_import::granted_first;
use crate::metrics::SourceMetrics;
use crate::record;
use crate::resolve::{Unresolved, resolve};
use crate::states::States;
use crate::usage::{RunningPod, Usage};

/// The member of this cluster in the set. Members of launch imports are named `<namespace>.<import>`.
pub(crate) const HOME: &str = "home";

/// A source cluster, and the home pods that are bound to its virtual node.
pub(crate) struct Source {
    /// The source's name, which is that of its node.
    pub(crate) cluster: Arc<str>,
    pub(crate) clusters: Clusters,
    /// The namespaces whose pods may use Argo's Secrets.
    pub(crate) argo_namespaces: Arc<BTreeSet<String>>,
    pub(crate) fence: Fence,
    pub(crate) events: Events,
    /// The pods that are bound to the virtual node.
    pub(crate) home: Stores<Pod>,
    /// The remote pods, by launch import.
    pub(crate) remote: Stores<Pod>,
    pub(crate) states: Arc<States>,
    /// The steps of Argo Workflows among the home pods.
    pub(crate) steps: Arc<Steps>,
    /// What these steps have reported, and no pod owns.
    pub(crate) leftovers: Arc<Leftovers>,
    pub(crate) metrics: Arc<SourceMetrics>,
    pub(crate) usage: Arc<Usage>,
}

impl Source {
    /// The launch imports of a namespace. Those that give rights to the outputs of steps are first.
    pub(crate) fn imports(&self, namespace: &str) -> Vec<Member> {
        granted_first(self.clusters.imported(namespace, &self.cluster))
    }

    /// The launch import that runs a home pod.
    pub(crate) fn resolve(&self, home: &Pod) -> Result<Member, Unresolved> {
        let namespace = home.metadata.namespace.as_deref().unwrap_or_default();
        resolve(home, &self.cluster, self.imports(namespace)).map_err(|problem| {
            if self.argo_namespaces.contains(namespace) { problem.with_secrets() } else { problem }
        })
    }

    /// The home pods whose remote pods run.
    pub(crate) fn running_pods(&self) -> Vec<RunningPod> {
        let home = self.home.objects().into_iter().map(|(_, home)| home);
        let running = home.filter(|home| {
            let phase = home.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Running") && record::remote_uid(home).is_some()
        });
        let mut imports: HashMap<String, Vec<Member>> = HashMap::new();
        let resolved = running.filter_map(|home| {
            let namespace = home.metadata.namespace.clone().unwrap_or_default();
            let imports = imports.entry(namespace).or_insert_with_key(|namespace| self.imports(namespace));
            let member = resolve(&home, &self.cluster, imports.clone()).ok()?;
            Some(RunningPod { member, home })
        });
        resolved.collect()
    }

    /// The remote pod of a home pod in the namespace of any launch import, with that import. An earlier attempt may have
    /// created it where the pod would not be created now.
    pub(crate) fn observed_anywhere(&self, home: &Pod, owner: &Owner) -> Option<(Member, Arc<Pod>)> {
        let imports = self.imports(home.metadata.namespace.as_deref().unwrap_or_default());
        let name = home.metadata.name.as_deref().unwrap_or_default();
        imports.into_iter().find_map(|member| {
            let remote = self.observed(&member, name, owner)?;
            Some((member, remote))
        })
    }

    /// The remote pod of a home pod, as last observed.
    pub(crate) fn observed(&self, member: &Member, name: &str, owner: &Owner) -> Option<Arc<Pod>> {
        let key = Key::new(member.name().clone(), Some(member.default_namespace()), name);
        self.remote.get(&key).filter(|pod| owner.owns(&pod.metadata))
    }

    /// The API of pods in the source. It writes only while this replica leads.
    pub(crate) fn remote_pods(&self, member: &Member) -> Api<Pod> {
        Api::default_namespaced(self.fenced(member))
    }

    /// The API of what Argo's steps report in the source. It writes only while this replica leads.
    pub(crate) fn remote_task_results(&self, member: &Member) -> Api<DynamicObject> {
        Api::default_namespaced_with(self.fenced(member), &task_results())
    }

    /// Creates a pod in the source from its JSON.
    pub(crate) async fn create_remote(&self, member: &Member, pod: &serde_json::Value) -> kube::Result<Pod> {
        let body = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
        let path = Pod::url_path(&(), Some(member.default_namespace()));
        let parameters =
            kube::api::PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let request = Request::new(path).create(&parameters, body).map_err(kube::Error::BuildRequest)?;
        with_deadline(self.fenced(member).request(request)).await
    }

    /// A client of a member that writes only while this replica leads.
    fn fenced(&self, member: &Member) -> Client {
        let (client, namespace) = (member.client(), member.default_namespace().to_owned());
        let service = service_fn(move |request: http::Request<Body>| {
            let client = client.clone();
            async move { client.send(request).await }
        });
        ClientBuilder::new(service, namespace).with_layer(&self.fence.layer()).build()
    }
}

/// The home pod of a remote pod, in whose metadata others may write any owner: a member has remote pods of the namespace
/// of its launch import only.
pub(crate) fn home_of(home: &Stores<Pod>, member: &Member, remote: &Pod) -> Option<Arc<Pod>> {
    let (owner, import) = (Owner::from_metadata(&remote.metadata)?, member.import()?);
    let pod = home.get(&Key { cluster: HOME.into(), ..owner.key() })?;
    is_home_of(&pod.metadata, &owner, import.metadata.namespace.as_deref()).then_some(pod)
}

fn is_home_of(pod: &ObjectMeta, owner: &Owner, import_namespace: Option<&str>) -> bool {
    pod.uid.as_ref() == Some(&owner.uid) && pod.namespace.as_deref() == import_namespace
}

/// Selects the launch imports of a source.
pub(crate) fn is_import_of(cluster: Arc<str>) -> impl Fn(&Member) -> bool + Clone + Send + Sync + 'static {
    move |member| member.import().is_some_and(|import| *import.spec.cluster_name == *cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::own_namespace("u", Some("team-a"), true)]
    #[case::import_of_another_namespace("u", Some("team-b"), false)]
    #[case::no_import_namespace("u", None, false)]
    #[case::earlier_pod_of_that_name("v", Some("team-a"), false)]
    fn remote_pod_belongs_to_a_home_pod_of_its_import(
        #[case] uid: &str,
        #[case] import_namespace: Option<&str>,
        #[case] expected: bool,
    ) {
        let pod = |uid: &str| Pod {
            metadata: ObjectMeta {
                namespace: Some("team-a".into()),
                name: Some("p".into()),
                uid: Some(uid.into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let owner = Owner::new(HOME, "cluster", &pod("u"), &()).unwrap();
        assert_eq!(is_home_of(&pod(uid).metadata, &owner, import_namespace), expected);
    }
}
