//! Counts calls with the API server's own metrics.
//!
//! Not with audit logs, because writing them costs the API server more than what is measured here.

use std::collections::BTreeMap;

use anyhow::Context;
use futures::future::try_join_all;
use mcsa_tests::Cluster;

/// The resources that an importer has rights for, in the target or in a source. The metrics don't name the client, so
/// no other client may call these at the same time.
const RESOURCES: [&str; 5] = ["serviceaccountimports", "secrets", "events", "serviceaccounts", "namespaces"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    resource: String,
    subresource: String,
    verb: String,
}

/// Number of calls that an API server has served, by resource and verb.
#[derive(Clone, Debug, Default)]
pub struct Calls(BTreeMap<Kind, u64>);

/// Number of calls during a time span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub tokens: u64,
    pub secrets_created: u64,
    pub secrets_changed: u64,
    /// Writes of imports' statuses.
    pub statuses: u64,
    pub events: u64,
    /// Lists, and watches that ended.
    pub lists: u64,
    /// All other calls.
    pub others: u64,
}

impl Calls {
    /// The calls of a cluster since its API server started.
    pub async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = cluster.client().request_text(request).await;
        parse(&text.with_context(|| format!("reading the metrics of {}", cluster.name()))?)
    }

    /// The sum of several clusters.
    pub async fn of_all(clusters: &[Cluster]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for Self(calls) in try_join_all(clusters.iter().map(Self::of)).await? {
            for (kind, count) in calls {
                *sum.0.entry(kind).or_default() += count;
            }
        }
        Ok(sum)
    }

    /// The calls since `before`.
    pub fn since(&self, before: &Self) -> Counts {
        let mut counts = Counts::default();
        for (kind, count) in &self.0 {
            *counts.of(kind) += count.saturating_sub(before.0.get(kind).copied().unwrap_or_default());
        }
        counts
    }
}

impl Counts {
    /// All writes, including TokenRequests.
    pub fn writes(&self) -> u64 {
        self.tokens + self.secrets_created + self.secrets_changed + self.statuses + self.events
    }

    fn of(&mut self, kind: &Kind) -> &mut u64 {
        match (kind.resource.as_str(), kind.subresource.as_str(), kind.verb.as_str()) {
            (_, _, "LIST" | "WATCH") => &mut self.lists,
            ("serviceaccounts", "token", "POST") => &mut self.tokens,
            ("secrets", "", "POST") => &mut self.secrets_created,
            ("secrets", "", "PATCH" | "APPLY" | "PUT") => &mut self.secrets_changed,
            ("serviceaccountimports", "status", "PATCH" | "APPLY" | "PUT") => &mut self.statuses,
            ("events", "", "POST" | "PATCH") => &mut self.events,
            _ => &mut self.others,
        }
    }
}

fn parse(metrics: &str) -> anyhow::Result<Calls> {
    let mut calls = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
        let (labels, count) = line.rsplit_once("} ").with_context(|| format!("not a metric: {line}"))?;
        let labels: BTreeMap<_, _> =
            labels.split("\",").filter_map(|label| label.trim_end_matches('"').split_once("=\"")).collect();
        let label = |name| labels.get(name).copied().unwrap_or_default().to_owned();
        let kind =
            Kind { resource: label("resource"), subresource: label("subresource"), verb: label("verb") };
        if RESOURCES.contains(&kind.resource.as_str()) && label("dry_run").is_empty() {
            let count: f64 = count.parse().with_context(|| format!("not a metric: {line}"))?;
            *calls.entry(kind).or_default() += count as u64;
        }
    }
    Ok(Calls(calls))
}
