//! Metrics: counters and histograms are here; gauges are computed at each scrape ([`expose`]).

mod snapshot;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcsa_runtime::metrics::call_durations;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use snapshot::{ImportState, Snapshot, SourceSnapshot, expose};

const PREFIX: &str = "mcsa_importer";

/// Counters and histograms.
#[derive(Clone, Debug)]
pub struct Metrics {
    minted: SourceCounters,
    failures: SourceCounters,
    reconciliations: Histogram,
    source_requests: Family<SourceLabel, Histogram, fn() -> Histogram>,
    target_requests: Histogram,
    watch_interruptions: Family<[(&'static str, &'static str); 1], Counter>,
}

type SourceLabel = [(&'static str, String); 1];

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            minted: SourceCounters::by("why"),
            failures: SourceCounters::by("reason"),
            reconciliations: call_durations(),
            source_requests: Family::new_with_constructor(call_durations),
            target_requests: call_durations(),
            watch_interruptions: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix(PREFIX);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the running importer", Info::new(version));
        let help = "Tokens minted, by source and reason";
        registry.register("tokens_minted", help, metrics.minted.clone());
        let help = "Failed reconciliations, by source and reason";
        registry.register("failures", help, metrics.failures.clone());
        let mut time = |name: &str, help: &str, histogram: Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram);
        };
        time("reconcile_duration", "Duration of reconciliations", metrics.reconciliations.clone());
        time(
            "target_request_duration",
            "Duration of requests to the target",
            metrics.target_requests.clone(),
        );
        registry.register_with_unit(
            "source_request_duration",
            "Duration of requests to a source, until the response or the deadline",
            Unit::Seconds,
            metrics.source_requests.clone(),
        );
        let help = "Interrupted watches of the target, by watched resource";
        registry.register("watch_interruptions", help, metrics.watch_interruptions.clone());
        metrics
    }

    /// Counts a minted token.
    pub fn minted(&self, source: &str, why: &str) {
        self.minted.count(source, why);
    }

    /// Counts a failed reconciliation.
    pub fn failed(&self, source: &str, reason: &str) {
        self.failures.count(source, reason);
    }

    /// Observes the duration of a reconciliation.
    pub fn reconciled(&self, took: Duration) {
        self.reconciliations.observe(took.as_secs_f64());
    }

    /// Observes the duration of a request to a source.
    pub fn source_responded(&self, source: &str, took: Duration) {
        self.source_requests.get_or_create(&source_label(source)).observe(took.as_secs_f64());
    }

    /// Observes the duration of a request to the target.
    pub fn target_responded(&self, took: Duration) {
        self.target_requests.observe(took.as_secs_f64());
    }

    /// Counts an interrupted watch of the target.
    pub fn watch_interrupted(&self, watch: &'static str) {
        self.watch_interruptions.get_or_create(&[("watch", watch)]).inc();
    }

    /// Drops the series of other sources, which no longer have a link.
    pub fn retain_sources(&self, is_kept: impl Fn(&str) -> bool) {
        let dropped = [self.minted.retain(&is_kept), self.failures.retain(&is_kept)];
        for source in dropped.into_iter().flatten() {
            self.source_requests.remove(&source_label(&source));
        }
    }
}

fn source_label(source: &str) -> SourceLabel {
    [("source", source.to_owned())]
}

/// Counters by source and one more label. prometheus-client's own family can't remove all series of a source.
#[derive(Clone, Debug)]
struct SourceCounters {
    label: &'static str,
    counts: Arc<Mutex<BTreeMap<(String, String), u64>>>,
}

impl SourceCounters {
    fn by(label: &'static str) -> Self {
        Self { label, counts: Arc::default() }
    }

    fn count(&self, source: &str, value: &str) {
        *self.counts().entry((source.to_owned(), value.to_owned())).or_default() += 1;
    }

    /// Returns the sources that were dropped.
    fn retain(&self, is_kept: &impl Fn(&str) -> bool) -> Vec<String> {
        let mut dropped = Vec::new();
        self.counts().retain(|(source, _), _| {
            let keeps = is_kept(source);
            if !keeps {
                dropped.push(source.clone());
            }
            keeps
        });
        dropped
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<(String, String), u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for SourceCounters {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for ((source, value), count) in &*self.counts() {
            let labels = [("source", source.as_str()), (self.label, value)];
            encoder.encode_family(&labels)?.encode_counter(count, None::<&Exemplar<NoLabelSet, u64>>)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }

    fn is_empty(&self) -> bool {
        self.counts().is_empty()
    }
}

#[cfg(test)]
pub(crate) fn samples(registry: &Registry) -> Vec<String> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_exposed_by_name() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        metrics.minted("c2", "TimeIsUp");
        metrics.minted("c2", "TimeIsUp");
        metrics.minted("c3", "Missing");
        metrics.failed("c2", "Forbidden");
        metrics.reconciled(Duration::from_millis(300));
        metrics.source_responded("c2", Duration::from_secs(60));
        metrics.target_responded(Duration::from_millis(1));
        metrics.watch_interrupted("imports");
        let counted = samples(&registry);
        let version = concat!(r#"mcsa_importer_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#);
        for expected in [
            version,
            r#"mcsa_importer_tokens_minted_total{source="c2",why="TimeIsUp"} 2"#,
            r#"mcsa_importer_tokens_minted_total{source="c3",why="Missing"} 1"#,
            r#"mcsa_importer_failures_total{source="c2",reason="Forbidden"} 1"#,
            r#"mcsa_importer_reconcile_duration_seconds_bucket{le="0.25"} 0"#,
            r#"mcsa_importer_reconcile_duration_seconds_bucket{le="0.5"} 1"#,
            r#"mcsa_importer_reconcile_duration_seconds_sum 0.3"#,
            r#"mcsa_importer_source_request_duration_seconds_bucket{le="30.0",source="c2"} 0"#,
            r#"mcsa_importer_source_request_duration_seconds_count{source="c2"} 1"#,
            r#"mcsa_importer_target_request_duration_seconds_count 1"#,
            r#"mcsa_importer_watch_interruptions_total{watch="imports"} 1"#,
        ] {
            assert!(counted.iter().any(|sample| sample == expected), "{expected} is not in {counted:#?}");
        }

        metrics.retain_sources(|source| source != "c2");
        let left = samples(&registry).concat();
        assert!(!left.contains("c2") && left.contains("c3"), "{left}");
    }

    #[test]
    fn label_values_are_escaped() {
        let mut registry = Registry::default();
        Metrics::new(&mut registry).failed("c\"2\n\\", "Forbidden");
        let failures = samples(&registry).into_iter().filter(|sample| sample.contains("failures"));
        assert_eq!(
            failures.collect::<Vec<_>>(),
            [r#"mcsa_importer_failures_total{source="c\"2\n\\",reason="Forbidden"} 1"#]
        );
    }
}
