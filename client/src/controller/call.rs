//! Calls to clusters, each with a deadline.

use std::time::Duration;

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, PartialObjectMeta, Preconditions, PropagationPolicy,
};
use kube::{Api, ResourceExt};
use tokio::time::timeout;

use super::error::Problem;
use crate::clusters::Member;

const DEADLINE: Duration = Duration::from_secs(10);

/// The metadata of an object of any kind.
pub(super) type Meta = PartialObjectMeta<DynamicObject>;

pub(super) fn api(member: &Member, resource: &ApiResource, namespace: Option<&str>) -> Api<Meta> {
    Api::<Meta>::all_with(member.client(), resource).constrain(namespace.unwrap_or_default())
}

/// Fails with [`Problem::Deadline`] if the cluster does not respond in time.
pub(super) async fn with_deadline<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
    match timeout(DEADLINE, call).await {
        Ok(response) => Ok(response?),
        Err(_) => Err(Problem::Deadline(DEADLINE)),
    }
}

/// Deletes the object only if it has not changed. Its dependents are deleted in the background, as by Kubernetes'
/// own garbage collector.
pub(super) fn delete_unchanged(object: &Meta) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid: object.uid(), resource_version: object.resource_version() }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    }
}
