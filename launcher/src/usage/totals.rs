//! Totals of CPU time from the rates that a source reports. Pure functions.
//!
//! A total grows by the rate times the time since the previous report, so that the rate computed from two totals is the
//! one that the source reported.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde::Deserialize;

use crate::quantity::Amount;

const NANO: u128 = 1_000_000_000;

/// The total at the first report, one second. metrics-server takes a total of zero for a missing one.
const FIRST_TOTAL: u128 = NANO;

/// A `PodMetricsList` of `metrics.k8s.io/v1beta1`.
#[derive(Debug, Deserialize)]
pub(super) struct PodMetricsList {
    #[serde(default)]
    pub(super) items: Vec<PodMetrics>,
}

/// The usage of a pod.
#[derive(Debug, Deserialize)]
pub(super) struct PodMetrics {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    timestamp: Timestamp,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
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
    at: Timestamp,
    containers: BTreeMap<String, ContainerTotals>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContainerTotals {
    /// Nanoseconds.
    cpu: u128,
    /// Bytes.
    memory: u128,
}

impl PodTotals {
    /// The totals after a report. `previous`: those after the last one.
    ///
    /// Containers that the home pod does not have are ignored: names of the source are not trusted.
    pub(super) fn advance(previous: Option<&Self>, home: &Pod, reported: &PodMetrics) -> Self {
        if let Some(previous) = previous.filter(|previous| reported.timestamp <= previous.at) {
            return previous.clone();
        }
        let elapsed = previous.map_or(0, |previous| {
            let nanos = reported.timestamp.duration_since(previous.at).as_nanos();
            nanos.unsigned_abs()
        });
        let containers = containers(home).filter_map(|name| {
            let reported = reported.containers.iter().find(|reported| reported.name == name)?;
            let amount = |resource| reported.usage.get(resource)?.0.parse::<Amount>().ok();
            let (rate, memory) = (amount("cpu")?.nano(), amount("memory")?.nano() / NANO);
            let before = previous.and_then(|previous| previous.containers.get(name));
            let before = before.map_or(FIRST_TOTAL, |before| before.cpu);
            let cpu = before.saturating_add(rate.saturating_mul(elapsed) / NANO);
            Some((name.to_owned(), ContainerTotals { cpu, memory }))
        });
        Self { at: reported.timestamp, containers: containers.collect() }
    }
}

/// The names of the containers that run as long as the pod.
fn containers(home: &Pod) -> impl Iterator<Item = &str> {
    let spec = home.spec.iter();
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    spec.flat_map(move |spec| {
        let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
        spec.containers.iter().chain(sidecars).map(|container| &*container.name)
    })
}

/// Prometheus' text format, with timestamps in milliseconds.
pub(super) fn render(pods: &[(Arc<Pod>, PodTotals)]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: fn(&ContainerTotals) -> String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (home, totals) in pods {
            let (namespace, pod) = (home.namespace().unwrap_or_default(), home.name_any());
            let at = totals.at.as_millisecond();
            for (container, totals) in &totals.containers {
                let value = value(totals);
                let labels = format!(r#"container="{container}",namespace="{namespace}",pod="{pod}""#);
                let _ = writeln!(text, "{name}{{{labels}}} {value} {at}");
            }
        }
    };
    let help = "Cumulative CPU time consumed by the container in core-seconds";
    family("container_cpu_usage_seconds_total", "counter", help, |totals| {
        format!("{}.{:09}", totals.cpu / NANO, totals.cpu % NANO)
    });
    let help = "Current working set of the container in bytes";
    family("container_memory_working_set_bytes", "gauge", help, |totals| totals.memory.to_string());
    text
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
        assert_eq!(first.containers["main"], ContainerTotals { cpu: FIRST_TOTAL, memory: 2 << 20 });
        let report = reported("2026-01-01T00:00:10Z", &[("main", "250m"), ("proxy", "1500n")]);
        let second = PodTotals::advance(Some(&first), &home(), &report);
        assert_eq!(second.containers["main"].cpu - FIRST_TOTAL, 2_500_000_000);
        assert_eq!(second.containers["proxy"].cpu - FIRST_TOTAL, 15_000);
        // The same report again, and an older one, change nothing.
        assert_eq!(PodTotals::advance(Some(&second), &home(), &report), second);
        let older = reported("2026-01-01T00:00:09Z", &[("main", "8")]);
        assert_eq!(PodTotals::advance(Some(&second), &home(), &older), second);
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
        report.timestamp = Timestamp::MAX;
        let second = PodTotals::advance(Some(&first), &home(), &report);
        assert!(second.containers["main"].cpu > first.containers["main"].cpu);
        assert!(!second.containers.contains_key("proxy"));
        report.containers[0].usage.clear();
        assert_eq!(PodTotals::advance(None, &home(), &report).containers, BTreeMap::new());
    }

    #[test]
    fn text_is_that_of_a_kubelet() {
        let report = reported("2026-01-01T00:00:00Z", &[("main", "1")]);
        let totals = PodTotals::advance(None, &home(), &report);
        assert_eq!(
            render(&[(Arc::new(home()), totals)]),
            "# HELP container_cpu_usage_seconds_total Cumulative CPU time consumed by the container in core-seconds\n\
             # TYPE container_cpu_usage_seconds_total counter\n\
             container_cpu_usage_seconds_total{container=\"main\",namespace=\"home\",pod=\"p\"} 1.000000000 1767225600000\n\
             # HELP container_memory_working_set_bytes Current working set of the container in bytes\n\
             # TYPE container_memory_working_set_bytes gauge\n\
             container_memory_working_set_bytes{container=\"main\",namespace=\"home\",pod=\"p\"} 2097152 1767225600000\n"
        );
    }
}
