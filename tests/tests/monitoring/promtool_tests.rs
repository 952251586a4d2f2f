//! Reads manifests/monitoring, and generates promtool's unit tests for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Scrape, kubectl, promtool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FOLDER, NAMESPACE, REASON, SOURCE};

/// The labels that alerts mention, with their values in tests.
const ALERT_LABELS: [(&str, &str); 3] =
    [("source", SOURCE), ("import_namespace", NAMESPACE), ("reason", REASON)];

/// Longer than the `for` of each alert, in minutes.
const LONG: u32 = 15;
/// Shorter than the `for` of each alert that need not fire at once, in minutes.
const SHORT: u32 = 1;

/// An object of manifests/monitoring, as kustomize renders it.
pub async fn object(kind: &str, name: &str) -> anyhow::Result<Value> {
    let objects = kubectl("", ["kustomize", FOLDER]).await?;
    let mut objects = objects.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    let matches = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
    let found = objects.find(|object| object.as_ref().map_or(true, matches));
    Ok(found.with_context(|| format!("there is no {kind} {name}"))??)
}

/// The alerting rules, in the form that Prometheus reads.
#[derive(Deserialize, Serialize)]
pub struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Alert>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    pub alert: String,
    pub expr: String,
    r#for: String,
    pub labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Rules {
    pub async fn read() -> anyhow::Result<Self> {
        Ok(serde_json::from_value(
            object("PrometheusRule", "multicluster-service-account").await?["spec"].take(),
        )?)
    }

    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    /// The alerts about one of our binaries.
    fn alerts_about(&self, binary: &str) -> impl Iterator<Item = &Alert> {
        let groups = self.groups.iter().filter(move |group| group.name.ends_with(binary));
        groups.flat_map(|group| &group.rules)
    }

    pub fn text(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

impl Alert {
    /// The alert in `exp_alerts` of a promtool test.
    fn expected(&self, binary: &str) -> Value {
        let placeholder = |label: &str| format!("{{{{ $labels.{label} }}}}");
        let fill_in = |text: &String| {
            ALERT_LABELS
                .iter()
                .fold(text.clone(), |text, (label, value)| text.replace(&placeholder(label), value))
        };
        let annotations: BTreeMap<_, _> =
            self.annotations.iter().map(|(name, text)| (name, fill_in(text))).collect();
        let mut labels = self.labels.clone();
        if !self.expr.starts_with("absent") {
            labels.extend(target_labels(binary).map(|(name, value)| (name.to_owned(), value)));
        }
        for (label, value) in ALERT_LABELS {
            if self.annotations.values().any(|text| text.contains(&placeholder(label))) {
                labels.insert(label.into(), value.into());
            }
        }
        json!({ "exp_labels": labels, "exp_annotations": annotations })
    }
}

/// The labels that Prometheus adds for the PodMonitor, except those of the pod.
fn target_labels(binary: &str) -> [(&'static str, String); 4] {
    [
        ("namespace", SYSTEM_NAMESPACE.to_owned()),
        ("container", binary.to_owned()),
        ("endpoint", "metrics".to_owned()),
        ("job", format!("{SYSTEM_NAMESPACE}/{binary}")),
    ]
}

/// The metrics of all replicas of a binary, over some time.
#[derive(Clone)]
pub struct State<'a> {
    name: &'a str,
    binary: &'a str,
    pub replicas: Vec<Scrape>,
    /// For how many minutes the replicas have had these metrics.
    minutes: u32,
    /// When Prometheus evaluates the rules, in seconds since 1970.
    at: u64,
}

impl<'a> State<'a> {
    pub fn now(binary: &'a str, name: &'a str, replicas: impl Into<Vec<Scrape>>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { name, binary, replicas: replicas.into(), minutes: LONG, at: now.as_secs() }
    }

    /// The same state at another time, in seconds since 1970.
    pub fn at(&self, name: &'a str, second: f64) -> Self {
        Self { name, at: second as u64, ..self.clone() }
    }

    /// The same state for a short time.
    pub fn for_a_short_time(&self) -> Self {
        Self { minutes: SHORT, ..self.clone() }
    }

    /// A test that exactly these alerts about the binary fire.
    pub fn fires(&self, expected: &[&str], rules: &Rules) -> Value {
        let known = |name: &&str| rules.alerts_about(self.binary).any(|alert| alert.alert == **name);
        assert!(expected.iter().all(known), "no such alert: {expected:?}");
        let test = |alert: &Alert| {
            let fired = expected.contains(&alert.alert.as_str()).then(|| alert.expected(self.binary));
            json!({
                "eval_time": format!("{}m", self.minutes),
                "alertname": alert.alert,
                "exp_alerts": fired.into_iter().collect::<Vec<_>>(),
            })
        };
        self.group(
            json!({ "alert_rule_test": rules.alerts_about(self.binary).map(test).collect::<Vec<_>>() }),
        )
    }

    /// A test that each of these expressions returns values.
    pub fn returns_values(&self, expressions: &[String]) -> Value {
        // No value is negative, and NaN doesn't count.
        let test = |expression: &String| {
            let some = json!([{ "labels": "{}", "value": 1 }]);
            let expression = format!("count(({expression}) >= 0) > bool 0");
            json!({ "expr": expression, "eval_time": format!("{}m", self.minutes), "exp_samples": some })
        };
        self.group(json!({ "promql_expr_test": expressions.iter().map(test).collect::<Vec<_>>() }))
    }

    fn group(&self, mut tests: Value) -> Value {
        let series = self.replicas.iter().enumerate().flat_map(|(replica, scrape)| {
            let others =
                target_labels(self.binary).map(|(name, value)| format!(",{name}=\"{value}\"")).concat();
            let target =
                format!("pod=\"{}-{replica}\",instance=\"10.0.0.{replica}:8080\"{others}", self.binary);
            scrape.input_series(&target, self.minutes)
        });
        tests["name"] = self.name.into();
        tests["interval"] = "1m".into();
        tests["start_timestamp"] = (self.at - 60 * u64::from(self.minutes)).into();
        tests["input_series"] = series.collect();
        tests
    }
}

#[derive(Deserialize)]
pub struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

impl Dashboard {
    pub async fn read() -> anyhow::Result<Self> {
        let map = object("ConfigMap", "multicluster-service-account-dashboard").await?;
        Ok(serde_json::from_str(map["data"]["dashboard.json"].as_str().context("no dashboard")?)?)
    }

    /// The dashboard's expressions, with Grafana's variables replaced.
    pub fn expressions(&self) -> impl Iterator<Item = String> {
        let targets = self.panels.iter().flat_map(|panel| &panel.targets);
        targets.map(|target| target.expr.replace("$source", ".*").replace("$__rate_interval", "5m"))
    }
}

/// Runs tests with promtool.
pub async fn run_tests(folder: &Path, rules: &Rules, tests: Vec<Value>) -> anyhow::Result<()> {
    std::fs::write(folder.join("rules.yaml"), rules.text()?)?;
    let tests = json!({ "rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests });
    let file = folder.join("tests.yaml");
    std::fs::write(&file, tests.to_string())?;
    promtool(["test".as_ref(), "rules".as_ref(), file.as_os_str()]).await.map(drop)
}

/// Parses metrics with Prometheus' own parser: `promtool check metrics` doesn't support OpenMetrics.
pub async fn parse_metrics(folder: &Path, scrape: &Scrape) -> anyhow::Result<()> {
    let (file, blocks) = (folder.join("metrics.txt"), folder.join("blocks"));
    std::fs::write(&file, scrape.with_timestamp(1_800_000_000))?;
    let import = ["tsdb", "create-blocks-from", "openmetrics"].map(OsStr::new);
    promtool(import.into_iter().chain([file.as_os_str(), blocks.as_os_str()])).await.map(drop)
}
