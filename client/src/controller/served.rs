//! Whether a cluster serves a kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList};
use kube::api::ApiResource;

use super::call::with_deadline;
use super::error::Problem;
use crate::clusters::Member;

/// Whether a cluster serves a kind, according to its discovery. A 404 of a list is no proof: it also comes from proxies
/// and from clusters behind the address of another one.
///
/// # Errors
/// If discovery or the cluster's UID cannot be read, or if another cluster has responded meanwhile.
pub(super) async fn is_served(member: &Member, resource: &ApiResource) -> Result<bool, Problem> {
    let known = with_deadline(member.cluster_uid()).await?.to_owned();
    let is_served = discover(member, resource).await?;
    if with_deadline(member.fetch_cluster_uid()).await? != known {
        return Err(Problem::AnotherCluster);
    }
    Ok(is_served)
}

async fn discover(member: &Member, resource: &ApiResource) -> Result<bool, Problem> {
    let client = member.client();
    if resource.group.is_empty() {
        let resources = with_deadline(client.list_core_api_resources(&resource.version)).await?;
        return Ok(has_kind(&resources, resource));
    }
    let groups = with_deadline(client.list_api_groups()).await?;
    if !has_version(&groups, resource) {
        return Ok(false);
    }
    let resources = with_deadline(client.list_api_group_resources(&resource.api_version)).await?;
    Ok(has_kind(&resources, resource))
}

fn has_version(groups: &APIGroupList, resource: &ApiResource) -> bool {
    let mut versions = groups.groups.iter().flat_map(|group| &group.versions);
    versions.any(|version| version.group_version == resource.api_version)
}

fn has_kind(resources: &APIResourceList, resource: &ApiResource) -> bool {
    resources.resources.iter().any(|served| served.name == resource.plural)
}
