//! manifests/monitoring, judged by promtool against what a real importer says at `/metrics`: where all
//! is well, no alert fires; in each trouble, the one that is for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use kube::api::DeleteParams;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_importer::failure::Reason;
use mcsa_tests::{
    Cluster, Fault, Imports, Process, Proxy, Scrape, eventually, install_and_link, kubectl, kubemcsa_ok,
    pod_lister, pod_lister_import, program, promtool,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/monitoring");
const SOURCE: &str = "c2";
const EXPIRY: &str = "mcsa_importer_soonest_expiry_timestamp_seconds";
const OVERDUE: &str = "mcsa_importer_overdue_imports";

/// In minutes: longer than any alert waits before it fires.
const LONG: u32 = 15;
/// And shorter than those of which nobody has to know at once.
const SHORT: u32 = 2;

/// An importer with a port of its own for its metrics.
struct Importer(Process);

impl Importer {
    async fn start(target: &Cluster, name: &str) -> anyhow::Result<Self> {
        let kubeconfig = target.kubeconfig_of(SYSTEM_NAMESPACE, "importer").await?;
        let mut command = Command::new(program("mcsa-importer")?);
        command.arg("--kubeconfig").arg(kubeconfig).args([
            "--probe-address",
            "127.0.0.1:0",
            "--lease-duration",
            "3",
        ]);
        let importer = Self(Process::spawn(name, &command, target.dir().join(format!("{name}.log")))?);
        eventually("the importer serves metrics", async || importer.0.scrape().await).await;
        Ok(importer)
    }

    /// The first scrape that is as `awaited`.
    async fn says(&self, what: &str, awaited: impl Fn(&Scrape) -> bool) -> Scrape {
        eventually(what, async || {
            let scrape = self.0.scrape().await?;
            ensure!(awaited(&scrape), "it says:\n{}", scrape.text());
            Ok(scrape)
        })
        .await
    }
}

/// One of its objects, as kustomize makes them.
async fn object(kind: &str) -> anyhow::Result<Value> {
    let objects = kubectl("", ["kustomize", FOLDER]).await?;
    let mut objects = objects.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    let found = objects.find(|object| object.as_ref().map_or(true, |object| object["kind"] == kind));
    Ok(found.with_context(|| format!("there is no {kind}"))??)
}

/// Rules, in the form that Prometheus reads.
#[derive(Deserialize, Serialize)]
struct Rules {
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
struct Alert {
    alert: String,
    expr: String,
    r#for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Rules {
    async fn read() -> anyhow::Result<Self> {
        Ok(serde_json::from_value(object("PrometheusRule").await?["spec"].take())?)
    }

    fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    fn text(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

impl Alert {
    /// As promtool expects it to fire.
    fn fired(&self) -> Value {
        let fill_in = |text: &String| text.replace("{{ $labels.source }}", SOURCE);
        let annotations: BTreeMap<_, _> =
            self.annotations.iter().map(|(name, text)| (name, fill_in(text))).collect();
        let mut labels = self.labels.clone();
        if !self.expr.starts_with("absent") {
            labels.extend(target_labels().map(|(name, value)| (name.to_owned(), value)));
            labels.insert("source".into(), SOURCE.into());
        }
        json!({ "exp_labels": labels, "exp_annotations": annotations })
    }
}

/// The labels that scraping by the PodMonitor adds, but for those of the pod.
fn target_labels() -> [(&'static str, String); 4] {
    [
        ("namespace", SYSTEM_NAMESPACE.to_owned()),
        ("container", "importer".to_owned()),
        ("endpoint", "metrics".to_owned()),
        ("job", format!("{SYSTEM_NAMESPACE}/importer")),
    ]
}

/// A state of the world, and what follows from it.
#[derive(Clone)]
struct State<'a> {
    name: &'a str,
    replicas: Vec<Scrape>,
    /// For how many minutes it has been so when Prometheus is asked.
    held: u32,
    /// When that is, in seconds since 1970.
    at: u64,
}

impl<'a> State<'a> {
    fn now(name: &'a str, replicas: impl Into<Vec<Scrape>>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { name, replicas: replicas.into(), held: LONG, at: now.as_secs() }
    }

    /// When it has not been so for long.
    fn begun(&self) -> Self {
        Self { held: SHORT, ..self.clone() }
    }

    /// A group of promtool's unit tests in which exactly these alerts fire.
    fn fires(&self, expected: &[&str], rules: &Rules) -> Value {
        let known = |name: &&str| rules.alerts().any(|alert| alert.alert == **name);
        assert!(expected.iter().all(known), "no such alert: {expected:?}");
        let test = |alert: &Alert| {
            let fired = expected.contains(&alert.alert.as_str()).then(|| alert.fired());
            json!({
                "eval_time": format!("{}m", self.held),
                "alertname": alert.alert,
                "exp_alerts": fired.into_iter().collect::<Vec<_>>(),
            })
        };
        self.group(json!({ "alert_rule_test": rules.alerts().map(test).collect::<Vec<_>>() }))
    }

    /// A group of promtool's unit tests in which each of these expressions has values.
    fn answers(&self, expressions: &[String]) -> Value {
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
            let others = target_labels().map(|(name, value)| format!(",{name}=\"{value}\"")).concat();
            let target = format!("pod=\"importer-{replica}\",instance=\"10.0.0.{replica}:8080\"{others}");
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
struct Dashboard {
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
    async fn read() -> anyhow::Result<Self> {
        let map = object("ConfigMap").await?;
        Ok(serde_json::from_str(map["data"]["dashboard.json"].as_str().context("no dashboard")?)?)
    }

    /// Its expressions, with the variables filled in as Grafana would.
    fn expressions(&self) -> impl Iterator<Item = String> {
        let targets = self.panels.iter().flat_map(|panel| &panel.targets);
        targets.map(|target| target.expr.replace("$source", ".*").replace("$__rate_interval", "5m"))
    }
}

/// Has promtool run these tests.
async fn judge(folder: &Path, rules: &Rules, tests: Vec<Value>) -> anyhow::Result<()> {
    std::fs::write(folder.join("rules.yaml"), rules.text()?)?;
    let tests = json!({ "rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests });
    let file = folder.join("tests.yaml");
    std::fs::write(&file, tests.to_string())?;
    promtool(["test".as_ref(), "rules".as_ref(), file.as_os_str()]).await.map(drop)
}

/// Has Prometheus' own parser read the text: `promtool check metrics` knows only the format before it.
async fn parse(folder: &Path, scrape: &Scrape) -> anyhow::Result<()> {
    let (file, blocks) = (folder.join("metrics.txt"), folder.join("blocks"));
    std::fs::write(&file, scrape.stamped(1_800_000_000))?;
    let import = ["tsdb", "create-blocks-from", "openmetrics"].map(OsStr::new);
    promtool(import.into_iter().chain([file.as_os_str(), blocks.as_os_str()])).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_has_its_alert() -> anyhow::Result<()> {
    let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start(SOURCE))?;
    let kubeconfig = install_and_link(&target, &source)?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    let server = proxy.url();
    let contexts = ["--target-context", target.name(), "--source-context", source.name()];
    kubemcsa_ok(&kubeconfig, [&["bootstrap"][..], &contexts, &["--source-server", &server]].concat())?;
    pod_lister(&source, "lister").await?;
    let imports = Imports::of(target.client(), "default");

    let leader = Importer::start(&target, "leader").await?;
    leader
        .says("the first importer leads", |scrape| scrape.value("mcsa_importer_leader", "") == Some(1.0))
        .await;
    let other = Importer::start(&target, "other").await?;
    imports.create(&pod_lister_import("a", SOURCE, "lister")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    let refreshed =
        |scrape: &Scrape| scrape.value("mcsa_importer_imports", "reason=\"Refreshed\"") == Some(2.0);
    let well = leader.says("link and import are well", refreshed).await;
    let well = State::now("all is well", [well, other.0.scrape().await?]);

    let mut absent = pod_lister_import("absent", SOURCE, "lister");
    absent.spec.name = "nobody".into();
    imports.create(&absent).await?;
    let failing = |scrape: &Scrape| scrape.value("mcsa_importer_imports", "ServiceAccountNotFound").is_some();
    let absent = State::now("no such service account", [leader.says("one import fails", failing).await]);
    imports.api.delete("absent", &DeleteParams::default()).await?;

    proxy.set(Fault::Refuse);
    imports.create(&pod_lister_import("b", SOURCE, "lister")).await?;
    let down = |scrape: &Scrape| {
        let overdue = scrape.value(OVERDUE, "").unwrap_or_default();
        scrape.value("mcsa_importer_link_up", "") == Some(0.0) && overdue > 0.0
    };
    let down = leader.says("the link is down", down).await;
    let expiry = down.value(EXPIRY, "").context("no token expires")?;
    let down = State::now("the link is down", [down]);
    let expired = State { name: "tokens expire", at: expiry as u64, ..down.clone() };
    // What an importer says only when something is wrong with it, and what none says.
    let late = State::now("refreshes are late", [well.replicas[0].with(OVERDUE, "1")]);
    let none = State::now("no importer", []);

    let (rules, dashboard) = (Rules::read().await?, Dashboard::read().await?);
    let (failures, others): (Vec<_>, Vec<_>) =
        dashboard.expressions().partition(|expression| expression.contains("failures"));
    ensure!(!failures.is_empty() && !others.is_empty(), "the dashboard shows nothing");
    let tests = vec![
        well.fires(&[], &rules),
        absent.fires(&["McsaImportsFail"], &rules),
        down.fires(&["McsaLinkDown"], &rules),
        expired.fires(&["McsaLinkDown", "McsaTokensExpire"], &rules),
        late.fires(&["McsaRefreshesLate"], &rules),
        none.fires(&["McsaImporterHasNoLeader"], &rules),
        absent.begun().fires(&[], &rules),
        down.begun().fires(&[], &rules),
        late.begun().fires(&[], &rules),
        none.begun().fires(&[], &rules),
        well.answers(&others),
        absent.answers(&failures),
    ];
    judge(target.dir(), &rules, tests).await?;
    parse(target.dir(), &well.replicas[0]).await?;
    parse(target.dir(), &absent.replicas[0]).await
}

#[tokio::test]
async fn the_rules_are_valid_and_know_all_reasons() -> anyhow::Result<()> {
    let rules = Rules::read().await?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), rules.text()?)?;
    promtool(["check".as_ref(), "rules".as_ref(), "--lint-fatal".as_ref(), file.path().as_os_str()]).await?;
    for alert in rules.alerts() {
        let severity = alert.labels.get("severity").map(String::as_str);
        ensure!(matches!(severity, Some("critical" | "warning")), "{}: {severity:?}", alert.alert);
    }
    let fail = rules.alerts().find(|alert| alert.alert == "McsaImportsFail").context("no such alert")?;
    let reasons = fail.expr.split('"').nth(1).context("no reasons")?;
    ensure!(reasons.split('|').eq(Reason::OWNERS_TO_MEND.map(Reason::as_str)), "{reasons}");
    Ok(())
}

#[tokio::test]
async fn the_monitor_finds_the_importer() -> anyhow::Result<()> {
    let monitor = object("PodMonitor").await?;
    let importer = std::fs::read_to_string(Path::new(FOLDER).with_file_name("importer.yaml"))?;
    let objects =
        importer.split("\n---\n").map(serde_saphyr::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").context("no Deployment")?;
    let pod = &deployment["spec"]["template"];
    for (name, value) in monitor["spec"]["selector"]["matchLabels"].as_object().context("no selector")? {
        ensure!(pod["metadata"]["labels"][name] == *value, "pods are not labelled {name}: {value}");
    }
    ensure!(monitor["metadata"]["namespace"] == deployment["metadata"]["namespace"]);
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    let ports = pod["spec"]["containers"][0]["ports"].as_array().context("the container has no ports")?;
    ensure!(ports.iter().any(|one| one["name"] == *port), "no port {port} in {ports:?}");
    let labels = &object("ConfigMap").await?["metadata"]["labels"];
    ensure!(labels["grafana_dashboard"] == "1", "{labels}");
    Ok(())
}
