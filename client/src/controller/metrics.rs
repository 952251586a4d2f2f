//! Metrics for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::key::Key;
use super::queue::{Depth, Queue};

const PREFIX: &str = "multicluster_controller";

/// Seconds: from one request within a data center to several that each take their whole deadline.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultLabel {
    Ok,
    Error,
    Panic,
    Aborted,
}

const RESULT_LABELS: [(ResultLabel, &str); 4] = [
    (ResultLabel::Ok, "ok"),
    (ResultLabel::Error, "error"),
    (ResultLabel::Panic, "panic"),
    (ResultLabel::Aborted, "aborted"),
];

type ClusterLabel = [(&'static str, Arc<str>); 1];
type TwoLabels = [(&'static str, Arc<str>); 2];

/// The metrics of a controller. Clones are cheap, and share the metrics.
///
/// The series of a cluster are removed when it leaves.
#[derive(Clone)]
pub struct Metrics {
    events: Family<TwoLabels, Counter>,
    reconciliations: Family<TwoLabels, Counter>,
    durations: Family<ClusterLabel, Histogram, fn() -> Histogram>,
    interruptions: Family<TwoLabels, Counter>,
    listed: Family<ClusterLabel, Gauge>,
    deleted: Family<ClusterLabel, Counter>,
    unproven: Family<ClusterLabel, Gauge>,
    queue: Arc<Queue<Key>>,
}

/// The reconciliation metrics of one cluster.
#[derive(Clone)]
pub(super) struct ReconcileMetrics {
    reconciliations: Arc<[Counter; 4]>,
    durations: Histogram,
}

impl Metrics {
    pub(super) fn new(queue: Arc<Queue<Key>>) -> Self {
        Self {
            events: Family::default(),
            reconciliations: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            interruptions: Family::default(),
            listed: Family::default(),
            deleted: Family::default(),
            unproven: Family::default(),
            queue,
        }
    }

    /// Registers the metrics. If several controllers share a registry, give each its own
    /// [`sub_registry_with_label`](Registry::sub_registry_with_label).
    ///
    /// ```
    /// use mcsa_client::controller::Metrics;
    /// use mcsa_client::controller::prometheus_client::{encoding::text::encode, registry::Registry};
    ///
    /// fn text(metrics: &Metrics) -> Result<String, std::fmt::Error> {
    ///     let (mut registry, mut text) = (Registry::default(), String::new());
    ///     metrics.register(&mut registry);
    ///     encode(&mut text, &registry)?;
    ///     Ok(text)
    /// }
    /// ```
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register(
            "events",
            "Objects in lists and watch events, by cluster and kind",
            self.events.clone(),
        );
        let help = "Finished reconciliations, by cluster and result";
        registry.register("reconciliations", help, self.reconciliations.clone());
        let help = "Duration of reconciliations, by cluster";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, self.durations.clone());
        let help = "Watches that failed or were restarted, by cluster and kind";
        registry.register("watch_interruptions", help, self.interruptions.clone());
        let help = "Whether the reconciled kind has been listed (1) or not yet (0), by cluster";
        registry.register("listed", help, self.listed.clone());
        let help = "Objects deleted because their owner in another cluster is gone, by cluster";
        registry.register("orphans_deleted", help, self.deleted.clone());
        let help = "Objects that may be orphans, but are kept for lack of proof, by cluster";
        registry.register("unproven_orphans", help, self.unproven.clone());
        registry.register_collector(Box::new(Depths(self.queue.clone())));
    }

    pub(super) fn events(&self, cluster: &Arc<str>, kind: &Arc<str>) -> Counter {
        self.events.get_or_create_owned(&by_kind(cluster, kind))
    }

    pub(super) fn interruptions(&self, cluster: &Arc<str>, kind: &Arc<str>) -> Counter {
        self.interruptions.get_or_create_owned(&by_kind(cluster, kind))
    }

    pub(super) fn listed(&self, cluster: &Arc<str>) -> Gauge {
        self.listed.get_or_create_owned(&by_cluster(cluster))
    }

    pub(super) fn reconciliations(&self, cluster: &Arc<str>) -> ReconcileMetrics {
        let reconciliations = RESULT_LABELS
            .map(|(_, label)| self.reconciliations.get_or_create_owned(&by_result(cluster, label)));
        let durations = self.durations.get_or_create_owned(&by_cluster(cluster));
        ReconcileMetrics { reconciliations: Arc::new(reconciliations), durations }
    }

    pub(super) fn orphan_deleted(&self, cluster: &Arc<str>) {
        self.deleted.get_or_create(&by_cluster(cluster)).inc();
    }

    pub(super) fn unproven_orphans(&self, cluster: &Arc<str>, count: usize) {
        self.unproven.get_or_create(&by_cluster(cluster)).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Removes the series of a cluster.
    pub(super) fn remove(&self, cluster: &Arc<str>, kinds: impl IntoIterator<Item = Arc<str>>) {
        for kind in kinds {
            self.events.remove(&by_kind(cluster, &kind));
            self.interruptions.remove(&by_kind(cluster, &kind));
        }
        for (_, label) in RESULT_LABELS {
            self.reconciliations.remove(&by_result(cluster, label));
        }
        self.durations.remove(&by_cluster(cluster));
        self.listed.remove(&by_cluster(cluster));
        self.deleted.remove(&by_cluster(cluster));
        self.unproven.remove(&by_cluster(cluster));
    }
}

impl ReconcileMetrics {
    pub(super) fn record(&self, label: ResultLabel, duration: Duration) {
        let counters = RESULT_LABELS.iter().zip(self.reconciliations.iter());
        for (_, counter) in counters.filter(|((known, _), _)| *known == label) {
            counter.inc();
        }
        self.durations.observe(duration.as_secs_f64());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn by_cluster(cluster: &Arc<str>) -> ClusterLabel {
    [("cluster", cluster.clone())]
}

fn by_kind(cluster: &Arc<str>, kind: &Arc<str>) -> TwoLabels {
    [("cluster", cluster.clone()), ("kind", kind.clone())]
}

fn by_result(cluster: &Arc<str>, label: &str) -> TwoLabels {
    [("cluster", cluster.clone()), ("result", label.into())]
}

/// Reads the queue at each scrape.
struct Depths(Arc<Queue<Key>>);

impl Collector for Depths {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let depths = self.0.depths();
        let mut gauge = |name: &str, help: &str, value: fn(&Depth) -> usize| {
            let kind = ConstGauge::new(0_i64).metric_type();
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (cluster, depth) in &depths {
                let gauge = ConstGauge::new(i64::try_from(value(depth)).unwrap_or(i64::MAX));
                gauge.encode(metric.encode_family(&by_cluster(cluster))?)?;
            }
            Ok(())
        };
        gauge("queue_depth", "Objects waiting to be reconciled, by cluster", |depth| depth.waiting)?;
        gauge("running", "Objects being reconciled, by cluster", |depth| depth.running)
    }
}

impl fmt::Debug for Depths {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Depths")
    }
}
