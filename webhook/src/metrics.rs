//! What Prometheus is told: reviews are counted as they are answered; how things are, it asks for at
//! each scrape.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::ready::Part;

const PREFIX: &str = "mcsa_webhook";

/// In seconds: from a review that needs nothing but the cache to one that the API server has given up.
const BUCKETS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0];

macro_rules! results {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What came of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ReviewResult {
            $($(#[$doc])* $name),*
        }

        impl ReviewResult {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];

            /// As the metric's label has it.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

results! {
    /// Allowed, with something added.
    Patched = "patched",
    /// Allowed as it is.
    Unchanged = "unchanged",
    /// Denied: the pod, or what it asks for, is not as it must be.
    Denied = "denied",
    /// Denied: an import that is not in the cache could not be looked up.
    Unknown = "unknown",
    /// No review: an HTTP status of 4xx.
    Refused = "refused",
    /// It did not come whole in time (HTTP status 408), or the caller did not wait for the answer.
    Dropped = "dropped",
}

/// What happens, counted.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reviews: Family<[(&'static str, &'static str); 1], Counter>,
    durations: Histogram,
}

impl Metrics {
    /// Counts from zero, for all to see in `registry`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self { reviews: Family::default(), durations: Histogram::new(BUCKETS) };
        for result in ReviewResult::ALL {
            // There from the start: a rate needs a value before the first event.
            drop(metrics.reviews.get_or_create(&label(*result)));
        }
        let registry = registry.sub_registry_with_prefix(PREFIX);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The webhook that runs", version);
        registry.register("reviews", "Requests that were answered, by result", metrics.reviews.clone());
        registry.register_with_unit(
            "review_duration",
            "How long requests took, from their head to their answer",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        metrics
    }

    /// A request was answered.
    pub(crate) fn answered(&self, result: ReviewResult, took: Duration) {
        self.reviews.get_or_create(&label(result)).inc();
        self.durations.observe(took.as_secs_f64());
    }
}

fn label(result: ReviewResult) -> [(&'static str, &'static str); 1] {
    [("result", result.as_str())]
}

/// How things are, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// What the job needs, and whether it stands.
    pub parts: [(Part, bool); Part::ALL.len()],
    /// How many imports are known.
    pub imports: u64,
    /// How long ago the API server was last heard; none before the first time.
    pub cache_age: Option<Duration>,
    /// When the certificate that is served expires.
    pub certificate_expiry: Option<Timestamp>,
}

/// Has each scrape of `registry` ask how things are.
pub(crate) fn expose(registry: &mut Registry, snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let registry = registry.sub_registry_with_prefix(PREFIX);
    registry.register_collector(Box::new(Gauges(Box::new(snapshot))));
}

/// Encodes a [`Snapshot`] at each scrape.
struct Gauges(Box<dyn Fn() -> Snapshot + Send + Sync>);

impl fmt::Debug for Gauges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot { parts, imports, cache_age, certificate_expiry } = (self.0)();
        let help = "Whether a part of what the job needs stands.";
        let mut ready = encoder.encode_descriptor("ready", help, None, MetricType::Gauge)?;
        for (part, stands) in parts {
            ready.encode_family(&[("part", part.name())])?.encode_gauge(&u64::from(stands))?;
        }
        encoder
            .encode_descriptor("imports", "Imports that are known.", None, MetricType::Gauge)?
            .encode_gauge(&imports)?;
        if let Some(age) = cache_age {
            let help = "How long ago the API server was last heard; it says something each minute.";
            encoder
                .encode_descriptor("cache_age", help, Some(&Unit::Seconds), MetricType::Gauge)?
                .encode_gauge(&age.as_secs_f64())?;
        }
        if let Some(expiry) = certificate_expiry {
            let help = "When the certificate that is served expires.";
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
    fn what_a_scrape_says() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        expose(&mut registry, || Snapshot {
            parts: Part::ALL.map(|part| (part, part != Part::Certificate)),
            imports: 7,
            cache_age: Some(Duration::from_millis(1_500)),
            certificate_expiry: Some(Timestamp::constant(1_800_000_000, 0)),
        });
        metrics.answered(ReviewResult::Patched, Duration::from_micros(300));
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
            assert!(text.lines().any(|said| said == line), "no {line} in:\n{text}");
        }
    }
}
