//! Metrics: counters of reviews, and gauges that are computed at each scrape.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use mcsa_runtime::metrics;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::readiness::Part;

const PREFIX: &str = "mcsa_webhook";

/// Seconds: from a review that needs only the cache to one for which the API server no longer waits.
const BUCKETS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0];

macro_rules! results {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ReviewResult {
            $($(#[$doc])* $name),*
        }

        impl ReviewResult {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// Value of the label `result`.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

results! {
    /// Allowed with a patch.
    Patched = "patched",
    /// Allowed without a patch.
    Unchanged = "unchanged",
    /// Denied because of the pod or its annotations, or because of a template.
    Denied = "denied",
    /// Denied because an import can't be parsed.
    InvalidImport = "invalid_import",
    /// Denied because an import could not be looked up.
    Unknown = "unknown",
    /// Not a review: HTTP status 4xx.
    Refused = "refused",
    /// Not received in time (HTTP status 408), or the client closed the connection before the response.
    Dropped = "dropped",
}

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reviews: Family<[(&'static str, &'static str); 1], Counter>,
    durations: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self { reviews: Family::default(), durations: Histogram::new(BUCKETS) };
        for result in ReviewResult::ALL {
            // Export zero: a rate needs a value before the first event.
            drop(metrics.reviews.get_or_create(&label(*result)));
        }
        let registry = registry.sub_registry_with_prefix(PREFIX);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the webhook", version);
        registry.register("reviews", "Admission requests by result", metrics.reviews.clone());
        registry.register_with_unit(
            "review_duration",
            "Duration of admission requests, from their headers to the response",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        metrics
    }

    pub(crate) fn record(&self, result: ReviewResult, duration: Duration) {
        self.reviews.get_or_create(&label(result)).inc();
        self.durations.observe(duration.as_secs_f64());
    }
}

fn label(result: ReviewResult) -> [(&'static str, &'static str); 1] {
    [("result", result.as_str())]
}

/// Values of the gauges.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Whether each part is ready.
    pub parts: [(Part, bool); Part::ALL.len()],
    /// Number of cached imports.
    pub imports: u64,
    /// Time since the API server last sent data on the watch; `None` before the first time.
    pub cache_age: Option<Duration>,
    /// When the serving certificate expires.
    pub certificate_expiry: Option<Timestamp>,
}

/// Computes the gauges at each scrape.
pub(crate) fn expose(registry: &mut Registry, snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let registry = registry.sub_registry_with_prefix(PREFIX);
    metrics::register(registry, move |encoder| snapshot().encode(encoder));
}

impl Snapshot {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Self { parts, imports, cache_age, certificate_expiry } = self;
        let help = "Whether a part of the webhook is ready (1) or not (0).";
        let mut ready = encoder.encode_descriptor("ready", help, None, MetricType::Gauge)?;
        for (part, is_ready) in parts {
            ready.encode_family(&[("part", part.name())])?.encode_gauge(&u64::from(*is_ready))?;
        }
        encoder
            .encode_descriptor("imports", "Imports in the cache.", None, MetricType::Gauge)?
            .encode_gauge(imports)?;
        if let Some(age) = cache_age {
            let help = "Time since the API server last sent data on the watch of imports; it sends some every minute.";
            encoder
                .encode_descriptor("cache_age", help, Some(&Unit::Seconds), MetricType::Gauge)?
                .encode_gauge(&age.as_secs_f64())?;
        }
        if let Some(expiry) = certificate_expiry {
            let help = "When the serving certificate expires.";
            let unit = Some(&Unit::Seconds);
            encoder
                .encode_descriptor("certificate_expiry_timestamp", help, unit, MetricType::Gauge)?
                .encode_gauge(&expiry.as_second())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn scrape_has_all_metrics() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        expose(&mut registry, || Snapshot {
            parts: Part::ALL.map(|part| (part, part != Part::Certificate)),
            imports: 7,
            cache_age: Some(Duration::from_millis(1_500)),
            certificate_expiry: Some(Timestamp::constant(1_800_000_000, 0)),
        });
        metrics.record(ReviewResult::Patched, Duration::from_micros(300));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"mcsa_webhook_reviews_total{result="patched"} 1"#,
            r#"mcsa_webhook_reviews_total{result="unknown"} 0"#,
            r#"mcsa_webhook_review_duration_seconds_bucket{le="0.0005"} 1"#,
            r#"mcsa_webhook_review_duration_seconds_bucket{le="0.00025"} 0"#,
            r#"mcsa_webhook_ready{part="imports"} 1"#,
            r#"mcsa_webhook_ready{part="certificate"} 0"#,
            "mcsa_webhook_imports 7",
            "mcsa_webhook_cache_age_seconds 1.5",
            "mcsa_webhook_certificate_expiry_timestamp_seconds 1800000000",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
        }
    }
}
