//! Totals of CPU time from the rates that a source reports. Pure functions.
//!
//! A total grows by the rate times the time since the previous report, so that the rate computed from two totals is the
//! one that the source reported.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use serde::Deserialize;

use crate::quantity::Amount;

const NANO: u128 = 1_000_000_000;

/// The total at the first report, a microsecond. metrics-server takes a total of zero for a missing one.
const FIRST_TOTAL: u128 = 1_000;

/// A `PodMetricsList` of `metrics.k8s.io/v1beta1`.
#[derive(Debug, Deserialize)]
pub(super) struct PodMetricsList {
    #[serde(default)]
    pub(super) items: Vec<PodMetrics>,
}

/// The usage of a pod.
#[derive(Debug, Deserialize)]
pub(super) struct PodMetrics {
    pub(super) metadata: Metadata,
    /// `None`: metrics-server has nothing to report.
    pub(super) timestamp: Option<Timestamp>,
    containers: Option<Vec<ContainerMetrics>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, Quantity>,
}

/// What the containers of a pod have used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodTotals {
    /// The first report.
    since: Timestamp,
    /// The latest report.
    at: Timestamp,
    /// CPU of all containers in the latest report, in nanoseconds per second.
    rate: u128,
    containers: BTreeMap<String, ContainerTotals>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContainerTotals {
    /// Nanoseconds.
    cpu: u128,
    /// Bytes. `None`: the latest report does not have the container.
    memory: Option<u128>,
}

impl PodTotals {
    /// The totals after a report. `previous`: those after the last one.
    ///
    /// Containers that the home pod does not have are ignored: names of the source are not trusted.
    pub(super) fn advance(previous: Option<&Self>, home: &Pod, reported: &PodMetrics) -> Self {
        let at = reported.timestamp.unwrap_or(Timestamp::MIN);
        if let Some(previous) = previous.filter(|previous| at <= previous.at) {
            return previous.clone();
        }
        let since = previous.map_or(at, |previous| previous.since);
        let elapsed =
            at.duration_since(previous.map_or(at, |previous| previous.at)).as_nanos().unsigned_abs();
        let mut sum = 0_u128;
        let containers = containers(home).filter_map(|name| {
            let before = previous.and_then(|previous| previous.containers.get(name));
            let total = before.map_or(FIRST_TOTAL, |before| before.cpu);
            let reported = reported.containers.iter().flatten().find(|reported| reported.name == name);
            let amount = |resource| reported?.usage.get(resource)?.0.parse::<Amount>().ok();
            let totals = match (amount("cpu"), amount("memory")) {
                (Some(rate), Some(memory)) => {
                    sum = sum.saturating_add(rate.nano());
                    let cpu = total.saturating_add(rate.nano().saturating_mul(elapsed) / NANO);
                    ContainerTotals { cpu, memory: Some(memory.nano() / NANO) }
                }
                _ => ContainerTotals { cpu: before?.cpu, memory: None },
            };
            Some((name.to_owned(), totals))
        });
        let containers = containers.collect();
        Self { since, at, rate: sum, containers }
    }

    fn memory(&self) -> u128 {
        self.containers.values().filter_map(|container| container.memory).fold(0, u128::saturating_add)
    }
}

/// What all pods of the node have used. It grows as the totals of pods do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeTotals {
    /// The latest report, and the nanoseconds until then.
    cpu: Option<(Timestamp, u128)>,
}

impl NodeTotals {
    /// The totals after a report of these pods.
    pub(super) fn advance(&mut self, pods: &[(Arc<Pod>, PodTotals)]) {
        let Some(at) = pods.iter().map(|(_, totals)| totals.at).max() else { return };
        let Some((before, cpu)) = self.cpu else {
            self.cpu = Some((at, FIRST_TOTAL));
            return;
        };
        if at > before {
            let elapsed = at.duration_since(before).as_nanos().unsigned_abs();
            let rate = pods.iter().map(|(_, totals)| totals.rate).fold(0, u128::saturating_add);
            self.cpu = Some((at, cpu.saturating_add(rate.saturating_mul(elapsed) / NANO)));
        }
    }
}

/// The names of the containers that run as long as the pod.
fn containers(home: &Pod) -> impl Iterator<Item = &str> {
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    home.spec.iter().flat_map(move |spec| {
        let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
        spec.containers.iter().chain(sidecars).map(|container| &*container.name)
    })
}

/// Prometheus' text format, with timestamps in milliseconds. The pods are those of the latest report.
pub(super) fn render(pods: &[(Arc<Pod>, PodTotals)], node: &NodeTotals) -> String {
    let mut text = String::new();
    // A start that moves tells metrics-server that a total began anew.
    let start = |pod: &PodTotals, _: u128, _: u128| {
        let millis = pod.since.as_millisecond();
        format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
    };
    let name = "container_start_time_seconds";
    family(&mut text, name, "gauge", "Start of the total in seconds since the epoch", pods, start);
    let cpu = |_: &PodTotals, cpu: u128, _: u128| seconds(cpu);
    let name = "container_cpu_usage_seconds_total";
    family(&mut text, name, "counter", "CPU time of the container in seconds", pods, cpu);
    let memory = |_: &PodTotals, _: u128, memory: u128| memory.to_string();
    let name = "container_memory_working_set_bytes";
    family(&mut text, name, "gauge", "Working set of the container in bytes", pods, memory);

    if let Some((at, cpu)) = node.cpu.filter(|_| !pods.is_empty()) {
        let memory = pods.iter().map(|(_, totals)| totals.memory()).fold(0, u128::saturating_add);
        let cpu = seconds(cpu);
        sample(
            &mut text,
            "node_cpu_usage_seconds_total",
            "counter",
            "CPU time of all pods in seconds",
            cpu,
            at,
        );
        sample(
            &mut text,
            "node_memory_working_set_bytes",
            "gauge",
            "Working set of all pods in bytes",
            memory,
            at,
        );
    }
    text
}

fn seconds(nanos: u128) -> String {
    format!("{}.{:09}", nanos / NANO, nanos % NANO)
}

/// Writes a sample for each container. `value` is computed from pod, CPU and memory.
fn family(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    pods: &[(Arc<Pod>, PodTotals)],
    value: impl Fn(&PodTotals, u128, u128) -> String,
) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (home, totals) in pods {
        let (namespace, pod, at) =
            (home.namespace().unwrap_or_default(), home.name_any(), totals.at.as_millisecond());
        for (container, &ContainerTotals { cpu, memory }) in &totals.containers {
            let Some(memory) = memory else { continue };
            let value = value(totals, cpu, memory);
            let labels = format!(r#"container="{container}",namespace="{namespace}",pod="{pod}""#);
            let _ = writeln!(text, "{name}{{{labels}}} {value} {at}");
        }
    }
}

/// Writes a sample without labels.
fn sample(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display, at: Timestamp) {
    let at = at.as_millisecond();
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value} {at}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn home() -> Pod {
        let spec = json!({
            "initContainers": [{ "name": "setup" }, { "name": "proxy", "restartPolicy": "Always" }],
            "containers": [{ "name": "main" }],
        });
        let metadata = json!({ "name": "p", "namespace": "home" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    /// A report of these containers with their CPU. Each uses 2 MiB.
    fn reported(at: &str, containers: &[(&str, &str)]) -> PodMetrics {
        let containers: Vec<_> = containers
            .iter()
            .map(|(name, cpu)| json!({ "name": name, "usage": { "cpu": cpu, "memory": "2048Ki" } }))
            .collect();
        let metadata = json!({ "name": "p", "namespace": "remote" });
        let report =
            json!({ "metadata": metadata, "timestamp": at, "window": "10s", "containers": containers });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn rate_of_two_totals_is_the_reported_one() {
        let report = reported("2026-01-01T00:00:00Z", &[("main", "1"), ("proxy", "0")]);
        let first = PodTotals::advance(None, &home(), &report);
        assert_eq!(first.containers["main"], ContainerTotals { cpu: FIRST_TOTAL, memory: Some(2 << 20) });
        let report = reported("2026-01-01T00:00:10Z", &[("main", "250m"), ("proxy", "1500n")]);
        let second = PodTotals::advance(Some(&first), &home(), &report);
        assert_eq!(second.containers["main"].cpu - FIRST_TOTAL, 2_500_000_000);
        assert_eq!(second.containers["proxy"].cpu - FIRST_TOTAL, 15_000);
        assert_eq!(second.since, first.at);
        // The same report again, and an older one, change nothing.
        assert_eq!(PodTotals::advance(Some(&second), &home(), &report), second);
        let older = reported("2026-01-01T00:00:09Z", &[("main", "8")]);
        assert_eq!(PodTotals::advance(Some(&second), &home(), &older), second);

        let mut node = NodeTotals::default();
        for totals in [first, second] {
            node.advance(&[(Arc::new(home()), totals)]);
        }
        assert_eq!(node.cpu.unwrap().1 - FIRST_TOTAL, 2_500_015_000);
    }

    #[test]
    fn total_of_a_container_that_is_not_reported_stays() {
        let first = PodTotals::advance(None, &home(), &reported("2026-01-01T00:00:00Z", &[("main", "1")]));
        let second = PodTotals::advance(Some(&first), &home(), &reported("2026-01-01T00:00:10Z", &[]));
        assert_eq!(second.containers["main"], ContainerTotals { cpu: FIRST_TOTAL, memory: None });
        let report = reported("2026-01-01T00:00:20Z", &[("main", "1")]);
        let third = PodTotals::advance(Some(&second), &home(), &report);
        assert_eq!(third.containers["main"].cpu - FIRST_TOTAL, 10 * NANO);
        assert!(!render(&[(Arc::new(home()), second)], &NodeTotals::default()).contains("main"));
    }

    #[test]
    fn only_running_containers_of_the_home_pod_count() {
        let hostile = "main\"} 1\nnode_cpu_usage_seconds_total{x=\"";
        let report = reported("2026-01-01T00:00:00Z", &[("main", "1"), ("setup", "1"), (hostile, "1")]);
        let totals = PodTotals::advance(None, &home(), &report);
        assert_eq!(totals.containers.into_keys().collect::<Vec<_>>(), ["main"]);
    }

    #[test]
    fn incomplete_and_absurd_amounts_are_harmless() {
        let mut report = reported("2026-01-01T00:00:00Z", &[("main", "9999E"), ("proxy", "-1")]);
        let first = PodTotals::advance(None, &home(), &report);
        report.timestamp = Some(Timestamp::MAX);
        let second = PodTotals::advance(Some(&first), &home(), &report);
        assert!(second.containers["main"].cpu > first.containers["main"].cpu);
        assert!(!second.containers.contains_key("proxy"));
        report.containers.as_mut().unwrap()[0].usage.clear();
        assert_eq!(PodTotals::advance(None, &home(), &report).containers, BTreeMap::new());
        // metrics-server reports a pod without usage with `null`.
        let empty = json!({ "metadata": { "name": "p" }, "timestamp": null, "containers": null });
        let list = json!({ "items": [empty] });
        assert!(serde_json::from_value::<PodMetricsList>(list).unwrap().items[0].timestamp.is_none());
    }

    #[test]
    fn text_is_that_of_a_kubelet() {
        let report = reported("2026-01-01T00:00:00Z", &[("main", "1")]);
        let totals = PodTotals::advance(None, &home(), &report);
        let (mut node, pods) = (NodeTotals::default(), [(Arc::new(home()), totals)]);
        node.advance(&pods);
        let text = render(&pods, &node);
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let labels = r#"{container="main",namespace="home",pod="p"}"#;
        assert_eq!(
            samples,
            [
                format!("container_start_time_seconds{labels} 1767225600.000 1767225600000"),
                format!("container_cpu_usage_seconds_total{labels} 0.000001000 1767225600000"),
                format!("container_memory_working_set_bytes{labels} 2097152 1767225600000"),
                "node_cpu_usage_seconds_total 0.000001000 1767225600000".to_owned(),
                "node_memory_working_set_bytes 2097152 1767225600000".to_owned(),
            ]
        );
        assert!(text.contains("# TYPE container_cpu_usage_seconds_total counter\n"), "{text}");
    }
}
