//! Creates pods in a real API server, whose metrics have the durations of its webhook calls.

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

use crate::both::Both;
use crate::fixture::{Fixture, import_name, namespace_of};
use crate::load::at_rate;
use crate::pods::{KINDS, pod};
use crate::server::Server;
use crate::tally::{Sample, Tally};
use crate::tls::Authority;

/// Creations per second, for each of the three kinds of namespaces.
const RATE: f64 = 20.0;

const METRIC: &str = "apiserver_admission_webhook_admission_duration_seconds";
const LIMITED: &str = "bench-limited";
const PLAIN: &str = "bench-plain";
const LIMIT_ENTRY: &str = "limit.multicluster.admiralty.io";

pub struct FromApiServer {
    /// The API server's metrics of the calls.
    pub calls: Both<Histogram>,
    /// The durations of creations, as its client measures them.
    pub creations: Both<Tally>,
    /// The durations of creations without a webhook.
    pub plain: Tally,
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

/// Measures with dry runs: the API server does everything except storing the pods.
pub async fn run(
    fixture: &Fixture,
    limit: &Server,
    authority: &Authority,
    window: Duration,
) -> anyhow::Result<FromApiServer> {
    fixture.namespace(LIMITED, &json!({ "bench": "limit" })).await?;
    fixture.namespace(PLAIN, &json!({})).await?;
    register(fixture, limit, authority).await?;
    let client = fixture.cluster.client();
    for (namespace, entry) in
        [(namespace_of(0).as_str(), Some(ENTRY)), (LIMITED, Some(LIMIT_ENTRY)), (PLAIN, None)]
    {
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
        anyhow::Ok(Both {
            webhook: histogram(&client, ENTRY).await?,
            limit: histogram(&client, LIMIT_ENTRY).await?,
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
    Ok(FromApiServer {
        calls: Both {
            webhook: after.webhook.since(&before.webhook),
            limit: after.limit.since(&before.limit),
        },
        creations: Both { webhook: of(0), limit: of(1) },
        plain: of(2),
    })
}

/// Creates pods in the three kinds of namespaces in turns.
fn namespace(index: usize) -> String {
    match index % 3 {
        0 => namespace_of(0),
        1 => LIMITED.to_owned(),
        _ => PLAIN.to_owned(),
    }
}

async fn create(client: &Client, namespace: &str, kind: usize) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    let body = pod(kind % KINDS, &import_name(0)).to_string().into_bytes();
    let request = Request::post(path).header("content-type", "application/json").body(body);
    let request = request.map_err(|error| error.to_string())?;
    let created = client.request_text(request).await.map_err(|error| error.to_string())?;
    let (is_mounted, is_wanted) = (created.contains(MOUNT_ROOT), namespace == namespace_of(0));
    if is_mounted == is_wanted { Ok(()) } else { Err(format!("a pod in {namespace} is not as it should be")) }
}

/// Registers the limit like the webhook, for a namespace of its own.
async fn register(fixture: &Fixture, limit: &Server, authority: &Authority) -> anyhow::Result<()> {
    let configuration = json!({
        "metadata": { "name": "bench-limit" },
        "webhooks": [{
            "name": LIMIT_ENTRY,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "clientConfig": {
                "url": format!("https://{}{PATH}", limit.place.address),
                "caBundle": ByteString(authority.pem().into_bytes()),
            },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["pods"], "scope": "Namespaced" }],
            "namespaceSelector": { "matchLabels": { "bench": "limit" } },
        }],
    });
    let api = Api::<MutatingWebhookConfiguration>::all(fixture.cluster.client());
    api.create(&PostParams::default(), &serde_json::from_value(configuration)?).await?;
    Ok(())
}

/// The API server's metrics of a webhook so far.
async fn histogram(client: &Client, entry: &str) -> anyhow::Result<Histogram> {
    let metrics = client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
    let mut histogram = Histogram::default();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(METRIC)) {
        let (series, value) = line.rsplit_once(' ').with_context(|| format!("no metric: {line}"))?;
        if !series.contains(&format!("name=\"{entry}\"")) {
            continue;
        }
        let value: f64 = value.parse().with_context(|| format!("no metric: {line}"))?;
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
