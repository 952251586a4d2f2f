//! manifests/monitoring as Prometheus reads it, and states of the world for promtool to judge it by.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Scrape, kubectl, promtool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FOLDER, NAMESPACE, SOURCE};

/// What an alert can be about, by the label that says so.
const SUBJECTS: [(&str, &str); 2] = [("source", SOURCE), ("import_namespace", NAMESPACE)];

/// In minutes: longer than any alert waits before it fires.
const LONG: u32 = 15;
/// And shorter than those of which nobody has to know at once.
const SHORT: u32 = 2;

/// One of its objects, as kustomize makes them.
pub async fn object(kind: &str, name: &str) -> anyhow::Result<Value> {
    let objects = kubectl("", ["kustomize", FOLDER]).await?;
    let mut objects = objects.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    let is_meant = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
    let found = objects.find(|object| object.as_ref().map_or(true, is_meant));
    Ok(found.with_context(|| format!("there is no {kind} {name}"))??)
}

/// Rules, in the form that Prometheus reads.
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

    /// Those about one of our binaries.
    fn alerts_about(&self, binary: &str) -> impl Iterator<Item = &Alert> {
        let groups = self.groups.iter().filter(move |group| group.name.ends_with(binary));
        groups.flat_map(|group| &group.rules)
    }

    pub fn text(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

impl Alert {
    /// As promtool expects it to fire.
    fn fired(&self, binary: &str) -> Value {
        let subject = |label: &str| format!("{{{{ $labels.{label} }}}}");
        let fill_in = |text: &String| {
            SUBJECTS.iter().fold(text.clone(), |text, (label, value)| text.replace(&subject(label), value))
        };
        let annotations: BTreeMap<_, _> =
            self.annotations.iter().map(|(name, text)| (name, fill_in(text))).collect();
        let mut labels = self.labels.clone();
        if !self.expr.starts_with("absent") {
            labels.extend(target_labels(binary).map(|(name, value)| (name.to_owned(), value)));
        }
        for (label, value) in SUBJECTS {
            if self.annotations.values().any(|text| text.contains(&subject(label))) {
                labels.insert(label.into(), value.into());
            }
        }
        json!({ "exp_labels": labels, "exp_annotations": annotations })
    }
}

/// The labels that scraping by the PodMonitor adds, but for those of the pod.
fn target_labels(binary: &str) -> [(&'static str, String); 4] {
    [
        ("namespace", SYSTEM_NAMESPACE.to_owned()),
        ("container", binary.to_owned()),
        ("endpoint", "metrics".to_owned()),
        ("job", format!("{SYSTEM_NAMESPACE}/{binary}")),
    ]
}

/// A state of the world, and what follows from it.
#[derive(Clone)]
pub struct State<'a> {
    name: &'a str,
    /// Of which binary.
    binary: &'a str,
    pub replicas: Vec<Scrape>,
    /// For how many minutes it has been so when Prometheus is asked.
    held: u32,
    /// When that is, in seconds since 1970.
    at: u64,
}

impl<'a> State<'a> {
    pub fn now(binary: &'a str, name: &'a str, replicas: impl Into<Vec<Scrape>>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { name, binary, replicas: replicas.into(), held: LONG, at: now.as_secs() }
    }

    /// The same at another time, in seconds since 1970.
    pub fn at(&self, name: &'a str, second: f64) -> Self {
        Self { name, at: second as u64, ..self.clone() }
    }

    /// When it has not been so for long.
    pub fn begun(&self) -> Self {
        Self { held: SHORT, ..self.clone() }
    }

    /// A group of promtool's unit tests in which exactly these alerts fire, of those about the binary.
    pub fn fires(&self, expected: &[&str], rules: &Rules) -> Value {
        let known = |name: &&str| rules.alerts_about(self.binary).any(|alert| alert.alert == **name);
        assert!(expected.iter().all(known), "no such alert: {expected:?}");
        let test = |alert: &Alert| {
            let fired = expected.contains(&alert.alert.as_str()).then(|| alert.fired(self.binary));
            json!({
                "eval_time": format!("{}m", self.held),
                "alertname": alert.alert,
                "exp_alerts": fired.into_iter().collect::<Vec<_>>(),
            })
        };
        self.group(
            json!({ "alert_rule_test": rules.alerts_about(self.binary).map(test).collect::<Vec<_>>() }),
        )
    }

    /// A group of promtool's unit tests in which each of these expressions has values.
    pub fn answers(&self, expressions: &[String]) -> Value {
        // No value is less than zero, and what is not a number is no value.
        let test = |expression: &String| {
            let some = json!([{ "labels": "{}", "value": 1 }]);
            let expression = format!("count(({expression}) >= 0) > bool 0");
            json!({ "expr": expression, "eval_time": format!("{}m", self.held), "exp_samples": some })
        };
        self.group(json!({ "promql_expr_test": expressions.iter().map(test).collect::<Vec<_>>() }))
    }

    fn group(&self, mut tests: Value) -> Value {
        let series = self.replicas.iter().enumerate().flat_map(|(replica, scrape)| {
            let others =
                target_labels(self.binary).map(|(name, value)| format!(",{name}=\"{value}\"")).concat();
            let target =
                format!("pod=\"{}-{replica}\",instance=\"10.0.0.{replica}:8080\"{others}", self.binary);
            scrape.input_series(&target, self.held)
        });
        tests["name"] = self.name.into();
        tests["interval"] = "1m".into();
        tests["start_timestamp"] = (self.at - 60 * u64::from(self.held)).into();
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

    /// Its expressions, with the variables filled in as Grafana would.
    pub fn expressions(&self) -> impl Iterator<Item = String> {
        let targets = self.panels.iter().flat_map(|panel| &panel.targets);
        targets.map(|target| target.expr.replace("$source", ".*").replace("$__rate_interval", "5m"))
    }
}

/// Has promtool run these tests.
pub async fn judge(folder: &Path, rules: &Rules, tests: Vec<Value>) -> anyhow::Result<()> {
    std::fs::write(folder.join("rules.yaml"), rules.text()?)?;
    let tests = json!({ "rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests });
    let file = folder.join("tests.yaml");
    std::fs::write(&file, tests.to_string())?;
    promtool(["test".as_ref(), "rules".as_ref(), file.as_os_str()]).await.map(drop)
}

/// Has Prometheus' own parser read the text: `promtool check metrics` knows only the format before it.
pub async fn parse(folder: &Path, scrape: &Scrape) -> anyhow::Result<()> {
    let (file, blocks) = (folder.join("metrics.txt"), folder.join("blocks"));
    std::fs::write(&file, scrape.with_timestamp(1_800_000_000))?;
    let import = ["tsdb", "create-blocks-from", "openmetrics"].map(OsStr::new);
    promtool(import.into_iter().chain([file.as_os_str(), blocks.as_os_str()])).await.map(drop)
}
