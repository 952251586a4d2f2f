//! Creates the remote pod, once.
//!
//! Its name is that of the home pod, so a crash after the request loses nothing: the next attempt finds the pod, and
//! recognizes it by the owner's UID.

pub(crate) mod refusal;

use k8s_openapi::api::core::v1::Pod;
use kube::core::Request;
use kube::{Client, Resource, ResourceExt};
use mcsa_client::clusters::Member;
use mcsa_client::controller::Owner;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use serde_json::Value;

use self::refusal::{Refusal, classify};
use crate::argo::report::Report;
use crate::forge::{Destination, forge};
use crate::record;
use crate::source::Source;

/// Why the remote pod of a home pod was not created.
#[derive(Debug)]
pub(crate) enum NotCreated {
    /// The home pod has changed since it was observed: it was deleted, or launched. An event follows.
    Outdated,
    /// Trying again may help.
    Retry { reason: &'static str, message: String },
    /// The source will never run this pod.
    Permanent { reason: &'static str, message: String },
}

impl NotCreated {
    fn retry(reason: &'static str, error: &kube::Error) -> Self {
        Self::Retry { reason, message: errors::short(&errors::line(error)) }
    }
}

/// Creates the remote pod, or finds the one that an earlier attempt created. `report`: how a step of Argo reports its
/// outputs.
pub(crate) async fn create(
    source: &Source,
    home: (&Client, &Pod),
    member: &Member,
    owner: &Owner,
    report: Option<&Report>,
) -> Result<Pod, NotCreated> {
    let (client, observed) = home;
    let home = read_home(client, observed).await?;
    let to = Destination { cluster: &source.cluster, namespace: member.default_namespace(), owner };
    let mut pod = forge(&home, &to)
        .map_err(|error| NotCreated::Permanent { reason: "InvalidPod", message: error.to_string() })?;
    if let Some(report) = report {
        report.configure(&mut pod);
    }
    let error = match source.create_remote(member, &pod).await {
        Ok(created) => {
            source.metrics.pod_created();
            return Ok(created);
        }
        Err(error) => error,
    };
    match classify(&error) {
        Refusal::Exists => existing(source, member, &observed.name_any(), owner).await,
        Refusal::Retry(reason) => Err(NotCreated::retry(reason, &error)),
        Refusal::Permanent => Err(NotCreated::Permanent {
            reason: "UnexpectedAdmissionError",
            message: format!(
                "cluster {} refused the pod: {}",
                source.cluster,
                errors::short(&errors::line(&error))
            ),
        }),
    }
}

/// Reads the home pod as raw JSON, with fields that this program does not know. It must still be the observed pod, and
/// not be launched.
async fn read_home(client: &Client, observed: &Pod) -> Result<Value, NotCreated> {
    let path = Pod::url_path(&(), observed.namespace().as_deref());
    let request = Request::new(path).get(&observed.name_any(), &Default::default());
    let read = async { client.request(request.map_err(kube::Error::BuildRequest)?).await };
    let home: Value = match with_deadline(read).await {
        Ok(home) => home,
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(NotCreated::Outdated),
        Err(error) => return Err(NotCreated::retry("ApiServerUnreachable", &error)),
    };
    let meta = &home["metadata"];
    let is_same = meta["uid"].as_str() == observed.metadata.uid.as_deref();
    let is_pending = meta["deletionTimestamp"].is_null() && !record::is_launched(&home);
    if is_same && is_pending { Ok(home) } else { Err(NotCreated::Outdated) }
}

/// Finds out whose pod has the name.
async fn existing(source: &Source, member: &Member, name: &str, owner: &Owner) -> Result<Pod, NotCreated> {
    let found = with_deadline(source.remote_pods(member).get_opt(name)).await;
    let (cluster, namespace) = (&source.cluster, member.default_namespace());
    match found {
        Ok(Some(pod)) if owner.owns(&pod.metadata) => Ok(pod),
        Ok(Some(pod)) if is_predecessor(&pod, owner) => Err(NotCreated::Retry {
            reason: "PredecessorExists",
            message: format!(
                "waiting until the pod of an earlier {namespace}/{name} is gone from cluster {cluster}"
            ),
        }),
        Ok(Some(_)) => Err(NotCreated::Permanent {
            reason: "NameCollision",
            message: format!("namespace {namespace} of cluster {cluster} has another pod named {name}"),
        }),
        Ok(None) => Err(NotCreated::Retry {
            reason: "PredecessorExists",
            message: format!("a pod named {namespace}/{name} was just deleted from cluster {cluster}"),
        }),
        Err(error) => Err(NotCreated::retry("SourceUnreachable", &error)),
    }
}

/// Whether the pod belongs to an earlier home pod of the same name, which is gone: garbage collection deletes it.
fn is_predecessor(pod: &Pod, owner: &Owner) -> bool {
    Owner::from_metadata(&pod.metadata).is_some_and(|other| {
        (&other.cluster_uid, &other.namespace, &other.name)
            == (&owner.cluster_uid, &owner.namespace, &owner.name)
    })
}
