//! The requests that a node needs.

use k8s_openapi::api::core::v1::{Node, NodeStatus, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use mcsa_credentials::contract::launch::FIELD_MANAGER;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use serde_json::{Value, json};

/// Pods of a list request.
const PAGE: u32 = 500;

/// A node can't be maintained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Pods of this cluster run on a node of this name, so there is no virtual node.
    #[error(
        "Node {name} exists, and the launcher did not create it: no pods can run in the source {name}. Link the source \
         with another name (kubemcsa bootstrap --source-name), or delete the Node"
    )]
    NameTaken {
        /// The name of source and node.
        name: String,
    },
    /// A request failed. It is retried.
    #[error("can't {verb} {object}: {}", errors::line(.error))]
    Request {
        /// What was tried.
        verb: &'static str,
        /// With which object.
        object: String,
        /// The API server's answer.
        error: kube::Error,
    },
    /// The watch was interrupted. It is resumed; until then, deletions are found more slowly.
    #[error("can't watch Node {name}: {}", errors::line(.error))]
    Watch {
        /// The name of source and node.
        name: String,
        /// The API server's answer.
        error: watcher::Error,
    },
}

impl NodeError {
    /// Whether the object changed, appeared or disappeared in the meantime.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Request { error: kube::Error::Api(status), .. } if matches!(status.code, 404 | 409))
    }

    pub(super) fn request(verb: &'static str, object: String) -> impl FnOnce(kube::Error) -> Self {
        move |error| Self::Request { verb, object, error }
    }
}

/// The node of a source in the target.
#[derive(Clone)]
pub(super) struct NodeApi {
    client: Client,
    nodes: Api<Node>,
    name: String,
}

impl NodeApi {
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { nodes: Api::all(client.clone()), client, name: name.to_owned() }
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn nodes(&self) -> Api<Node> {
        self.nodes.clone()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn get(&self) -> Result<Option<Node>, NodeError> {
        with_deadline(self.nodes.get_opt(&self.name)).await.map_err(self.failed_to("get"))
    }

    pub(super) async fn create(&self, node: &Node) -> Result<Node, NodeError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        with_deadline(self.nodes.create(&params, node)).await.map_err(self.failed_to("create"))
    }

    pub(super) async fn patch(&self, patch: Value) -> Result<Node, NodeError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
        let patch = Patch::Merge(patch);
        with_deadline(self.nodes.patch(&self.name, &params, &patch)).await.map_err(self.failed_to("patch"))
    }

    /// `uid` is the precondition: the status of another node of this name is not changed.
    pub(super) async fn apply_status(&self, uid: &str, status: &NodeStatus) -> Result<Node, NodeError> {
        let applied = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": self.name, "uid": uid },
            "status": status,
        });
        // The node lifecycle controller sets Ready to Unknown after a pause; we take it back.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = Patch::Apply(applied);
        let applied = self.nodes.patch_status(&self.name, &params, &applied);
        with_deadline(applied).await.map_err(self.failed_to("apply the status of"))
    }

    /// Deletes this version of the node. 404 is no error.
    pub(super) async fn delete(&self, node: &Node) -> Result<(), NodeError> {
        let preconditions = Preconditions { uid: node.uid(), resource_version: node.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
        match with_deadline(self.nodes.delete(&self.name, &params)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(self.failed_to("delete")(error)),
        }
    }

    /// A pod that is bound to the node, as `<namespace>/<name>`. Pods of DaemonSets do not count: their controller
    /// deletes them after the node.
    pub(super) async fn any_pod(&self) -> Result<Option<String>, NodeError> {
        let pods = Api::<Pod>::all(self.client());
        let mut params = ListParams::default().fields(&format!("spec.nodeName={}", self.name)).limit(PAGE);
        loop {
            let page = with_deadline(pods.list_metadata(&params)).await;
            let page = page.map_err(NodeError::request("list", format!("pods of Node {}", self.name)))?;
            if let Some(pod) = page.items.iter().find(|pod| !is_of_daemon_set(pod)) {
                return Ok(Some(format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(None),
            }
        }
    }

    /// The version of the API server. `None`: it does not say.
    pub(super) async fn server_version(&self) -> Option<String> {
        with_deadline(self.client.apiserver_version()).await.ok().map(|info| info.git_version)
    }

    fn failed_to(&self, verb: &'static str) -> impl FnOnce(kube::Error) -> NodeError + use<> {
        NodeError::request(verb, format!("Node {}", self.name))
    }
}

fn is_of_daemon_set(pod: &PartialObjectMeta<Pod>) -> bool {
    pod.owner_references().iter().any(|owner| owner.kind == "DaemonSet" && owner.controller == Some(true))
}
