//! The status of a virtual node. Pure functions.
//!
//! It is written by server-side apply: the API server merges conditions by type and capacity by name, so what others
//! add stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mcsa_runtime::errors;

use super::VirtualNode;
use super::capacity::Capacity;
use super::health::Reachability;
use super::resources::quantities;
use crate::quantity::Amount;

const SOURCE_REACHABLE: &str = "SourceReachable";
const CAPACITY_KNOWN: &str = "CapacityKnown";

/// A version of the Kubernetes API for nodes if that of the API server is not known.
const OLDEST_SUPPORTED: &str = "v1.33.0";

/// The status without times. Write it if it [`differs`] from what is stored.
///
/// Ready means that the launcher lives: if it were False while the source is away, the node lifecycle controller would
/// evict the pods, although they run on.
pub(crate) fn desired(
    node: &VirtualNode,
    observed: Option<&NodeStatus>,
    reachability: &Reachability,
    capacity: &Capacity,
    version: &str,
) -> NodeStatus {
    let (total, allocatable) = amounts(observed, capacity);
    let endpoint = node.endpoint;
    NodeStatus {
        // No Hostname: API servers prefer it by default, and would look the node's name up in DNS.
        addresses: Some(vec![NodeAddress { type_: "InternalIP".into(), address: endpoint.ip().to_string() }]),
        allocatable: Some(allocatable),
        capacity: Some(total),
        conditions: Some(conditions(observed, reachability, capacity)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: endpoint.port().into() }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: node.platform.arch.clone(),
            operating_system: node.platform.os.clone(),
            os_image: format!("Cluster {}", node.name),
            container_runtime_version: concat!("mcsa://", env!("CARGO_PKG_VERSION")).into(),
            kubelet_version: version.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Whether what is stored differs from the desired status, apart from times and from what others added.
pub(crate) fn differs(observed: Option<&NodeStatus>, desired: &NodeStatus) -> bool {
    let Some(observed) = observed else { return true };
    let is_stored = |wanted: &NodeCondition| {
        condition(Some(observed), &wanted.type_).is_some_and(|stored| content(stored) == content(wanted))
    };
    let has_addresses = || {
        let stored = observed.addresses.as_deref().unwrap_or_default();
        desired.addresses.iter().flatten().all(|address| stored.contains(address))
    };
    !(desired.conditions.iter().flatten().all(is_stored)
        && has_addresses()
        && includes(observed.capacity.as_ref(), desired.capacity.as_ref())
        && includes(observed.allocatable.as_ref(), desired.allocatable.as_ref())
        && observed.daemon_endpoints == desired.daemon_endpoints
        && observed.node_info.as_ref().map(own_info) == desired.node_info.as_ref().map(own_info))
}

/// The status with times: conditions that did not change keep their transition time.
pub(crate) fn timed(desired: &NodeStatus, observed: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let mut status = desired.clone();
    for wanted in status.conditions.iter_mut().flatten() {
        let since = condition(observed, &wanted.type_).filter(|stored| stored.status == wanted.status);
        let since = since.and_then(|stored| stored.last_transition_time.clone());
        wanted.last_heartbeat_time = Some(Time(now));
        wanted.last_transition_time = Some(since.unwrap_or(Time(now)));
    }
    status
}

/// The version that the node shows: that of the API server, with ours. Tools compare it with the API server's.
pub(crate) fn kubelet_version(api_server: Option<&str>) -> String {
    let api_server = api_server.unwrap_or(OLDEST_SUPPORTED);
    let release = api_server.split(['-', '+']).next().filter(|release| !release.is_empty());
    format!("{}-mcsa-{}", release.unwrap_or(OLDEST_SUPPORTED), env!("CARGO_PKG_VERSION"))
}

fn conditions(
    observed: Option<&NodeStatus>,
    reachability: &Reachability,
    capacity: &Capacity,
) -> Vec<NodeCondition> {
    let no_pressure =
        |type_| new(type_, "False", "NoPressure", "the source's nodes report their own pressure");
    let source_reachable = match reachability {
        Reachability::Reachable => new(SOURCE_REACHABLE, "True", "SourceReady", "the source responds"),
        Reachability::Unreachable { reason, message } => new(SOURCE_REACHABLE, "False", reason, message),
        Reachability::Unknown => match condition(observed, SOURCE_REACHABLE) {
            Some(stored) => {
                NodeCondition { last_heartbeat_time: None, last_transition_time: None, ..stored.clone() }
            }
            None => new(SOURCE_REACHABLE, "Unknown", "NotChecked", "the source was not checked yet"),
        },
    };
    let capacity_known = match (capacity.problems.as_slice(), capacity.is_complete) {
        ([], true) => {
            new(CAPACITY_KNOWN, "True", "CapacityKnown", "the sum of what the launch imports allow")
        }
        ([], false) => {
            let message =
                "no launch import has a credential that works, or the quotas in the source were not read yet";
            new(CAPACITY_KNOWN, "Unknown", "QuotaNotRead", message)
        }
        (problems, _) => {
            new(CAPACITY_KNOWN, "False", "InvalidCapacity", &errors::short(&problems.join("; ")))
        }
    };
    vec![
        new("Ready", "True", "LauncherReady", "the launcher is running"),
        no_pressure("MemoryPressure"),
        no_pressure("DiskPressure"),
        no_pressure("PIDPressure"),
        // Without it, a cloud's route controller would taint the node, as it finds no route to it.
        new("NetworkUnavailable", "False", "SourceNetwork", "pods use the source's network"),
        source_reachable,
        capacity_known,
    ]
}

/// Capacity and allocatable. As long as quotas are not read, those that are stored stay.
fn amounts(
    observed: Option<&NodeStatus>,
    capacity: &Capacity,
) -> (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) {
    let stored = observed.and_then(|status| status.capacity.clone().zip(status.allocatable.clone()));
    match stored {
        Some(stored) if !capacity.is_complete => stored,
        _ => (quantities(&capacity.total), quantities(&capacity.allocatable)),
    }
}

fn new(type_: &str, status: &str, reason: &str, message: &str) -> NodeCondition {
    NodeCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..Default::default()
    }
}

fn condition<'a>(status: Option<&'a NodeStatus>, type_: &str) -> Option<&'a NodeCondition> {
    status?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

fn content(condition: &NodeCondition) -> (&str, Option<&str>, Option<&str>) {
    (&condition.status, condition.reason.as_deref(), condition.message.as_deref())
}

fn own_info(info: &NodeSystemInfo) -> [&str; 5] {
    [
        &info.architecture,
        &info.operating_system,
        &info.os_image,
        &info.container_runtime_version,
        &info.kubelet_version,
    ]
}

/// Whether all `wanted` amounts are stored, however they are written.
fn includes(
    stored: Option<&BTreeMap<String, Quantity>>,
    wanted: Option<&BTreeMap<String, Quantity>>,
) -> bool {
    let amount = |quantity: &Quantity| quantity.0.parse::<Amount>().ok();
    wanted.into_iter().flatten().all(|(name, quantity)| {
        let stored = stored.and_then(|stored| stored.get(name));
        stored.is_some_and(|stored| amount(stored) == amount(quantity))
    })
}

#[cfg(test)]
mod tests;
