//! Measures the webhook behind a real API server, whose metrics have the durations of its calls.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::Request;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_credentials::contract::MOUNT_ROOT;
use mcsa_credentials::contract::webhook::{ENTRY, PATH};
use mcsa_tests::try_eventually;
use serde_json::json;

use crate::comparison::Comparison;
use crate::fixture::{Fixture, import_name, namespace_of};
use crate::load::at_rate;
use crate::pods::{KINDS, pod};
use crate::results::{Results, Sample};
use crate::server::Server;
use crate::tls::Authority;

/// Creations per second in each of the three namespaces.
const RATE: f64 = 20.0;

const METRIC: &str = "apiserver_admission_webhook_admission_duration_seconds";
const BASELINE_NAMESPACE: &str = "bench-baseline";
const PLAIN_NAMESPACE: &str = "bench-plain";
const BASELINE_ENTRY: &str = "baseline.multicluster.admiralty.io";

pub struct ApiServerFigures {
    /// The durations of the webhook calls, from the API server's metrics.
    pub calls: Comparison<Histogram>,
    /// The durations of creations, measured by the client.
    pub creations: Comparison<Results>,
    /// The durations of creations without a webhook.
    pub plain: Results,
}

/// A Prometheus histogram.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Number of calls.
    pub count: f64,
    sum: f64,
    /// Number of calls by upper bound, in milliseconds.
    buckets: BTreeMap<u64, f64>,
}

impl Histogram {
    /// The mean duration of a call.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.sum / self.count.max(1.0))
    }

    /// The upper bound of the bucket with this percentile, in milliseconds.
    pub fn bound(&self, percent: f64) -> Option<u64> {
        let rank = self.count * percent / 100.0;
        self.buckets.iter().find(|&(_, &count)| count >= rank).map(|(&bound, _)| bound)
    }

    fn since(&self, before: &Self) -> Self {
        let less = |(bound, count): (&u64, &f64)| {
            (*bound, count - before.buckets.get(bound).copied().unwrap_or_default())
        };
        Self {
            count: self.count - before.count,
            sum: self.sum - before.sum,
            buckets: self.buckets.iter().map(less).collect(),
        }
    }
}

/// Creates pods with dry runs, in which the API server does everything except storing them.
pub async fn run(
    fixture: &Fixture,
    baseline: &Server,
    authority: &Authority,
    window: Duration,
) -> anyhow::Result<ApiServerFigures> {
    fixture.create_namespace(BASELINE_NAMESPACE, &json!({ "bench": "baseline" })).await?;
    fixture.create_namespace(PLAIN_NAMESPACE, &json!({})).await?;
    register(fixture, baseline, authority).await?;
    let client = fixture.cluster.client();
    for (namespace, entry) in [
        (namespace_of(0).as_str(), Some(ENTRY)),
        (BASELINE_NAMESPACE, Some(BASELINE_ENTRY)),
        (PLAIN_NAMESPACE, None),
    ] {
        let what = format!("pods to be created in {namespace}");
        try_eventually(Duration::from_secs(20), what, async || {
            create(&client, namespace, 0).await.map_err(anyhow::Error::msg)?;
            let Some(entry) = entry else { return Ok(()) };
            ensure!(histogram(&client, entry).await?.count > 0.0, "{entry} was not called");
            Ok(())
        })
        .await?;
    }
    let histograms = async || {
        anyhow::Ok(Comparison {
            webhook: histogram(&client, ENTRY).await?,
            baseline: histogram(&client, BASELINE_ENTRY).await?,
        })
    };
    let before = histograms().await?;
    let creator = client.clone();
    let samples = at_rate(3.0 * RATE, window, move |index| {
        let client = creator.clone();
        async move { create(&client, &namespace(index), index / 3).await }
    });
    let samples = samples.await?;
    let after = histograms().await?;
    let of =
        |kind: usize| samples.iter().filter(|sample: &&Sample| sample.index % 3 == kind).cloned().collect();
    Ok(ApiServerFigures {
        calls: Comparison {
            webhook: after.webhook.since(&before.webhook),
            baseline: after.baseline.since(&before.baseline),
        },
        creations: Comparison { webhook: of(0), baseline: of(1) },
        plain: of(2),
    })
}

/// Alternates between the three namespaces.
fn namespace(index: usize) -> String {
    match index % 3 {
        0 => namespace_of(0),
        1 => BASELINE_NAMESPACE.to_owned(),
        _ => PLAIN_NAMESPACE.to_owned(),
    }
}

/// Creates a pod of one of the [`KINDS`], as a dry run.
pub async fn create(client: &Client, namespace: &str, kind: usize) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    let body = pod(kind % KINDS, &import_name(0)).to_string().into_bytes();
    let request = Request::post(path).header("content-type", "application/json").body(body);
    let request = request.map_err(|error| error.to_string())?;
    let created = client.request_text(request).await.map_err(|error| error.to_string())?;
    let (is_mounted, is_expected) = (created.contains(MOUNT_ROOT), namespace == namespace_of(0));
    if is_mounted == is_expected {
        Ok(())
    } else {
        Err(format!("a pod in {namespace} has an unexpected mount, or lacks the expected one"))
    }
}

/// Registers the baseline like the webhook, for a namespace of its own.
async fn register(fixture: &Fixture, baseline: &Server, authority: &Authority) -> anyhow::Result<()> {
    let configuration = json!({
        "metadata": { "name": "bench-baseline" },
        "webhooks": [{
            "name": BASELINE_ENTRY,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "clientConfig": {
                "url": format!("https://{}{PATH}", baseline.addresses.reviews),
                "caBundle": ByteString(authority.pem().into_bytes()),
            },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["pods"], "scope": "Namespaced" }],
            "namespaceSelector": { "matchLabels": { "bench": "baseline" } },
        }],
    });
    let api = Api::<MutatingWebhookConfiguration>::all(fixture.cluster.client());
    api.create(&PostParams::default(), &serde_json::from_value(configuration)?).await?;
    Ok(())
}

/// The durations of calls to a webhook so far, from the API server's metrics.
async fn histogram(client: &Client, entry: &str) -> anyhow::Result<Histogram> {
    let metrics = client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
    let mut histogram = Histogram::default();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(METRIC)) {
        let (series, value) = line.rsplit_once(' ').with_context(|| format!("not a metric: {line}"))?;
        if !series.contains(&format!("name=\"{entry}\"")) {
            continue;
        }
        let value: f64 = value.parse().with_context(|| format!("not a metric: {line}"))?;
        let bound =
            series.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next()?.parse::<f64>().ok());
        match bound {
            _ if series.starts_with("_count") => histogram.count += value,
            _ if series.starts_with("_sum") => histogram.sum += value,
            Some(bound) if bound.is_finite() => {
                *histogram.buckets.entry((bound * 1000.0).round() as u64).or_default() += value;
            }
            _ => {}
        }
    }
    Ok(histogram)
}
