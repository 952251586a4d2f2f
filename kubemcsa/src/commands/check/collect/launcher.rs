//! Reads what launch imports need: the launcher, its rights to read their Secrets and to write the outputs of Argo's
//! steps, the virtual nodes, and the CRDs of Argo.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::LAUNCHER;

use super::{Collected, Errors, deployment, status};
use crate::cluster::Cluster;
use crate::cluster::call::CallError;
use crate::cluster::template_fields::incomplete;
use crate::commands::check::facts::{self, Facts, Launcher, is_for_argo};
use crate::link::launcher::is_virtual_node;

/// Imports whose access is reviewed concurrently.
const CONCURRENCY: usize = 16;

/// Calls nothing if there are no launch imports.
pub(crate) async fn collect(cluster: &Cluster, facts: &Facts) -> Collected<Launcher> {
    let mut errors = Errors::default();
    let imports: Vec<_> = facts.launch_imports().collect();
    if imports.is_empty() {
        return Collected { value: Launcher::default(), errors };
    }
    let deployment = errors.record(deployment(cluster, LAUNCHER).await, "Deployment", Some(SYSTEM_NAMESPACE));
    let mut value = Launcher {
        is_readable: deployment.is_some(),
        deployment: deployment.flatten().as_ref().map(status),
        ..Default::default()
    };
    let sources: BTreeSet<_> = imports.iter().map(|import| import.spec.cluster_name.as_str()).collect();
    for source in sources {
        let node = errors.record(node(cluster, source).await, "Node", None);
        value.nodes.extend(node.map(|node| (source.to_owned(), node)));
    }
    let reviews = imports.iter().map(async |import| (*import, denied(cluster, import).await));
    let reviews: Vec<_> = stream::iter(reviews).buffered(CONCURRENCY).collect().await;
    for (import, review) in reviews {
        match review {
            Ok(Denied { secret, outputs }) => {
                let key = (import.namespace().unwrap_or_default(), import.name_any());
                value.denied.extend(secret.then(|| key.clone()));
                value.outputs_denied.extend(outputs.then_some(key));
            }
            Err(error) => {
                // The same error for all imports.
                errors.record::<()>(Err(error), "SubjectAccessReview", None);
                break;
            }
        }
    }
    // The CRDs may have megabytes.
    if imports.iter().any(|import| is_for_argo(import)) {
        let found = errors.record(incomplete(cluster).await, "CustomResourceDefinition", None);
        value.without_template_fields.extend(found.iter().flatten().map(|definition| definition.name));
    }
    Collected { value, errors }
}

async fn node(cluster: &Cluster, name: &str) -> Result<facts::Node, CallError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = cluster.call(&format!("read node {name}"), nodes.get_metadata_opt(name)).await?;
    Ok(match node {
        None => facts::Node::Missing,
        Some(node) if is_virtual_node(&node) => facts::Node::Virtual,
        Some(_) => facts::Node::Other,
    })
}

/// What the launcher may not do.
struct Denied {
    /// Read the Secret of the import.
    secret: bool,
    /// Write the outputs of Argo's steps in the import's namespace, which it needs only if the import is for Argo.
    outputs: bool,
}

async fn denied(cluster: &Cluster, import: &ServiceAccountImport) -> Result<Denied, CallError> {
    let read = ResourceAttributes {
        verb: Some("get".into()),
        version: Some("v1".into()),
        resource: Some("secrets".into()),
        namespace: import.namespace(),
        name: Some(import.secret_name()),
        ..Default::default()
    };
    let secret = !may(cluster, read).await?;
    let mut outputs = false;
    let verbs: &[&str] = if is_for_argo(import) { &["create", "patch"] } else { &[] };
    for verb in verbs {
        let write = ResourceAttributes {
            verb: Some((*verb).into()),
            group: Some("argoproj.io".into()),
            version: Some("v1alpha1".into()),
            resource: Some("workflowtaskresults".into()),
            namespace: import.namespace(),
            ..Default::default()
        };
        outputs |= !may(cluster, write).await?;
    }
    Ok(Denied { secret, outputs })
}

/// Asks the API server, which knows all Roles and ClusterRoles.
async fn may(cluster: &Cluster, attributes: ResourceAttributes) -> Result<bool, CallError> {
    let groups = [
        "system:serviceaccounts",
        &format!("system:serviceaccounts:{SYSTEM_NAMESPACE}"),
        "system:authenticated",
    ];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{LAUNCHER}")),
            groups: Some(groups.map(str::to_owned).into()),
            resource_attributes: Some(attributes),
            ..Default::default()
        },
        ..Default::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let params = PostParams::default();
    let call = reviews.create(&params, &review);
    let review = cluster.call("review the rights of the launcher", call).await?;
    Ok(review.status.is_some_and(|SubjectAccessReviewStatus { allowed, .. }| allowed))
}
