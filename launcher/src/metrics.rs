//! Metrics of sources, written at each scrape. A source has its own counters, so that no series is left when it is gone.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcsa_runtime::metrics::{self, call_durations, family, gauge};
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

const PREFIX: &str = "mcsa_launcher";

/// Counters and durations of one source.
#[derive(Debug)]
pub(crate) struct SourceMetrics {
    pods_created: Counter,
    status_writes: Counter,
    /// By reason.
    failures: Mutex<BTreeMap<&'static str, u64>>,
    reconciliations: Histogram,
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self {
            pods_created: Counter::default(),
            status_writes: Counter::default(),
            failures: Mutex::default(),
            reconciliations: call_durations(),
        }
    }
}

impl SourceMetrics {
    /// Counts a remote pod that was created.
    pub(crate) fn pod_created(&self) {
        self.pods_created.inc();
    }

    /// Counts a write of a home pod's status.
    pub(crate) fn status_written(&self) {
        self.status_writes.inc();
    }

    /// Counts a reconciliation after which the pod waits, or fails because its source refuses it.
    pub(crate) fn failed(&self, reason: &'static str) {
        *self.failures().entry(reason).or_default() += 1;
    }

    /// Observes the duration of a reconciliation.
    pub(crate) fn reconciled(&self, took: Duration) {
        self.reconciliations.observe(took.as_secs_f64());
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers of pods of one source. The keys are constants of this program: tenants can't create series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodCounts {
    pub(crate) by_phase: BTreeMap<&'static str, u64>,
    /// Pods that wait, by reason.
    pub(crate) waiting: BTreeMap<&'static str, u64>,
}

/// All metrics of one source.
#[derive(Clone, Debug)]
pub(crate) struct SourceSnapshot {
    pub(crate) metrics: Arc<SourceMetrics>,
    /// `None`: not known yet.
    pub(crate) is_reachable: Option<bool>,
    pub(crate) is_maintained: bool,
    pub(crate) pods: PodCounts,
}

/// All metrics.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Whether this replica leads. A follower exposes nothing of sources.
    pub(crate) leads: bool,
    pub(crate) sources: BTreeMap<Arc<str>, SourceSnapshot>,
}

/// Registers the metrics; each scrape calls `snapshot`.
pub(crate) fn expose(registry: &mut Registry, snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let registry = registry.sub_registry_with_prefix(PREFIX);
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "Version of the running launcher", version);
    metrics::register(registry, move |encoder| {
        let snapshot = snapshot();
        snapshot.encode(encoder)
    });
}

impl Snapshot {
    /// Only the leader has series of sources: a follower keeps those that are gone.
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        encoder
            .encode_descriptor("leader", "Whether this replica is the leader.", None, MetricType::Gauge)?
            .encode_gauge(&u64::from(self.leads))?;
        if !self.leads {
            return Ok(());
        }
        self.encode_counters(encoder)?;
        self.encode_gauges(encoder)
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Pods created in a source.";
        let created = self.of_each(|source| Some(source.metrics.pods_created.clone()));
        family(encoder, "pods_created", help, None, created)?;
        let help = "Writes of a pod's status, by source.";
        let writes = self.of_each(|source| Some(source.metrics.status_writes.clone()));
        family(encoder, "status_writes", help, None, writes)?;
        let help = "Reconciliations after which a pod waits, or fails because its source refuses it, by source and reason.";
        let failures = self.labelled("reason", |source| source.metrics.failures().clone());
        let failures = failures.map(|(labels, count)| (labels, ConstCounter::new(count)));
        family(encoder, "failures", help, None, failures)?;
        let help = "Duration of reconciliations, by source.";
        let durations = self.of_each(|source| Some(source.metrics.reconciliations.clone()));
        family(encoder, "reconcile_duration", help, Some(&Unit::Seconds), durations)
    }

    fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether a source is reachable by any of its launch imports.";
        let reachable = self.of_each(|source| source.is_reachable.map(u64::from));
        gauge(encoder, "source_reachable", help, None, reachable)?;
        let help =
            "Whether the virtual node of a source is the launcher's, and its Lease and status are written.";
        let maintained = self.of_each(|source| Some(u64::from(source.is_maintained)));
        gauge(encoder, "node_maintained", help, None, maintained)?;
        let help = "Pods that are bound to the virtual node of a source, by phase.";
        gauge(encoder, "pods", help, None, self.labelled("phase", |source| source.pods.by_phase.clone()))?;
        let help = "Pods that are not launched or wait otherwise, by source and reason.";
        gauge(
            encoder,
            "waiting_pods",
            help,
            None,
            self.labelled("reason", |source| source.pods.waiting.clone()),
        )
    }

    fn of_each<T>(
        &self,
        value: impl Fn(&SourceSnapshot) -> Option<T>,
    ) -> impl Iterator<Item = ([(&'static str, &str); 1], T)> {
        self.sources.iter().filter_map(move |(name, source)| Some(([("source", &**name)], value(source)?)))
    }

    fn labelled(
        &self,
        label: &'static str,
        counts: fn(&SourceSnapshot) -> BTreeMap<&'static str, u64>,
    ) -> impl Iterator<Item = ([(&'static str, &str); 2], u64)> {
        self.sources.iter().flat_map(move |(name, source)| {
            let labels = move |value| [("source", &**name), (label, value)];
            counts(source).into_iter().map(move |(value, count)| (labels(value), count))
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn samples(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn source() -> SourceSnapshot {
        let metrics = SourceMetrics::default();
        metrics.pod_created();
        metrics.status_written();
        metrics.status_written();
        metrics.failed("QuotaExceeded");
        metrics.reconciled(Duration::from_millis(300));
        SourceSnapshot {
            metrics: Arc::new(metrics),
            is_reachable: Some(false),
            is_maintained: true,
            pods: PodCounts {
                by_phase: [("Pending", 2), ("Running", 7)].into(),
                waiting: [("QuotaExceeded", 1), ("SourceUnreachable", 3)].into(),
            },
        }
    }

    fn new_source() -> SourceSnapshot {
        SourceSnapshot {
            metrics: Arc::default(),
            is_reachable: None,
            is_maintained: false,
            pods: PodCounts::default(),
        }
    }

    fn exposed(leads: bool, sources: &[(&str, SourceSnapshot)]) -> Vec<String> {
        let sources = sources.iter().map(|(name, source)| (Arc::from(*name), source.clone())).collect();
        let (mut registry, snapshot) = (Registry::default(), Snapshot { leads, sources });
        expose(&mut registry, move || snapshot.clone());
        samples(&registry).into_iter().filter(|sample| !sample.contains("_bucket{")).collect()
    }

    #[test]
    fn metrics_are_exposed_by_name() {
        let version = concat!(r#"mcsa_launcher_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#);
        let expected = [
            version,
            r#"mcsa_launcher_leader 1"#,
            r#"mcsa_launcher_pods_created_total{source="c2"} 1"#,
            r#"mcsa_launcher_pods_created_total{source="c3"} 0"#,
            r#"mcsa_launcher_status_writes_total{source="c2"} 2"#,
            r#"mcsa_launcher_status_writes_total{source="c3"} 0"#,
            r#"mcsa_launcher_failures_total{source="c2",reason="QuotaExceeded"} 1"#,
            r#"mcsa_launcher_reconcile_duration_seconds_sum{source="c2"} 0.3"#,
            r#"mcsa_launcher_reconcile_duration_seconds_count{source="c2"} 1"#,
            r#"mcsa_launcher_reconcile_duration_seconds_sum{source="c3"} 0.0"#,
            r#"mcsa_launcher_reconcile_duration_seconds_count{source="c3"} 0"#,
            r#"mcsa_launcher_source_reachable{source="c2"} 0"#,
            r#"mcsa_launcher_node_maintained{source="c2"} 1"#,
            r#"mcsa_launcher_node_maintained{source="c3"} 0"#,
            r#"mcsa_launcher_pods{source="c2",phase="Pending"} 2"#,
            r#"mcsa_launcher_pods{source="c2",phase="Running"} 7"#,
            r#"mcsa_launcher_waiting_pods{source="c2",reason="QuotaExceeded"} 1"#,
            r#"mcsa_launcher_waiting_pods{source="c2",reason="SourceUnreachable"} 3"#,
        ];
        assert_eq!(exposed(true, &[("c2", source()), ("c3", new_source())]), expected);
    }

    #[test]
    fn follower_exposes_nothing_of_sources() {
        assert_eq!(exposed(false, &[("c2", source())])[1..], ["mcsa_launcher_leader 0"]);
    }

    #[test]
    fn source_that_is_gone_leaves_no_series() {
        assert_eq!(exposed(true, &[])[1..], ["mcsa_launcher_leader 1"]);
    }
}
