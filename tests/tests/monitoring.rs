//! Tests manifests/monitoring with promtool and the metrics of real importers, webhooks and launchers: each problem fires
//! its own alert, and otherwise no alert fires.

mod launcher;
mod promtool_tests;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use kube::api::DeleteParams;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_importer::Reason;
use mcsa_tests::{
    Cluster, Daemons, Fault, Imports, Process, Proxy, Scrape, create_pod_lister, eventually,
    install_and_link, kubemcsa_ok, pod_lister_import, program, promtool,
};
use serde_json::Value;

use self::launcher::Launchers;
use self::promtool_tests::{Dashboard, Rules, State, object, parse_metrics, run_tests};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/monitoring");
const SOURCE: &str = "c2";
const NAMESPACE: &str = "team";
/// Why pods wait in tests.
const REASON: &str = "NoLaunchImport";
const EXPIRY: &str = "mcsa_importer_soonest_expiry_timestamp_seconds";
const OVERDUE: &str = "mcsa_importer_overdue_imports";
const SERVED: &str = "mcsa_importer_namespace_served";

/// Starts an importer or a launcher that serves metrics on a port of its own.
async fn replica(target: &Cluster, binary: &str, name: &str, args: &[&str]) -> anyhow::Result<Process> {
    let kubeconfig = target.kubeconfig_of(SYSTEM_NAMESPACE, binary).await?;
    let mut command = Command::new(program(&format!("mcsa-{binary}"))?);
    command.arg("--kubeconfig").arg(kubeconfig).args(args);
    command.args(["--probe-address", "127.0.0.1:0", "--lease-duration", "3"]);
    let name = format!("{binary}-{name}");
    let replica = Process::spawn(&name, &command, target.dir().join(format!("{name}.log")))?;
    eventually(format!("{name} serves metrics"), async || replica.scrape().await).await;
    Ok(replica)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_problem_of_an_importer_or_a_launcher_fires_its_alert() -> anyhow::Result<()> {
    // The launchers' certificates are self-signed.
    let target = Cluster::builder("c1").api_server_arg("--kubelet-certificate-authority=");
    let (target, source) = tokio::try_join!(target.start(), Cluster::start(SOURCE))?;
    let kubeconfig = install_and_link(&target, &source)?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    let server = proxy.url();
    let contexts = ["--target-context", target.name(), "--source-context", source.name()];
    kubemcsa_ok(&kubeconfig, [&["bootstrap"][..], &contexts, &["--source-server", &server]].concat())?;
    create_pod_lister(&source, "lister").await?;
    let imports = Imports::of(target.client(), "default");

    let leader = replica(&target, "importer", "leader", &[]).await?;
    leader
        .wait_for_scrape("the first importer leads", |scrape| {
            scrape.value("mcsa_importer_leader", "") == Some(1.0)
        })
        .await;
    let other = replica(&target, "importer", "other", &[]).await?;
    let launchers = Launchers::start(&target, &kubeconfig).await?;
    imports.create(&pod_lister_import("a", SOURCE, "lister")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    let refreshed =
        |scrape: &Scrape| scrape.value("mcsa_importer_imports", "reason=\"Refreshed\"") == Some(3.0);
    let healthy = leader.wait_for_scrape("link, import and launch import are refreshed", refreshed).await;
    let healthy = State::now("importer", "healthy", [healthy, other.scrape().await?]);

    let mut absent = pod_lister_import("absent", SOURCE, "lister");
    absent.spec.name = "nobody".into();
    imports.create(&absent).await?;
    let failing = |scrape: &Scrape| scrape.value("mcsa_importer_imports", "ServiceAccountNotFound").is_some();
    let absent = State::now(
        "importer",
        "no such service account",
        [leader.wait_for_scrape("one import fails", failing).await],
    );
    imports.api.delete("absent", &DeleteParams::default()).await?;

    proxy.set(Fault::Refuse);
    imports.create(&pod_lister_import("b", SOURCE, "lister")).await?;
    let down = |scrape: &Scrape| {
        let overdue = scrape.value(OVERDUE, "").unwrap_or_default();
        scrape.value("mcsa_importer_link_up", "") == Some(0.0) && overdue > 0.0
    };
    let down = leader.wait_for_scrape("the link is down", down).await;
    let expiry = down.value(EXPIRY, "").context("the metric of the soonest expiry is missing")?;
    let down = State::now("importer", "the link is down", [down]);
    let expired = down.at("tokens expire", expiry);
    // States that a healthy importer never has.
    let late = State::now("importer", "refreshes are late", [healthy.replicas[0].with_value(OVERDUE, "1")]);
    let none = State::now("importer", "no importer", []);
    // The additional metric of a confined importer.
    let confined = |is_served: u8| {
        let sample = format!("{SERVED}{{import_namespace=\"{NAMESPACE}\"}} {is_served}\n");
        [Scrape::new(sample + healthy.replicas[0].text())]
    };
    let served = State::now("importer", "a namespace is served", confined(1));
    let not_served = State::now("importer", "a namespace is not served", confined(0));

    let (rules, dashboard) = (Rules::read().await?, Dashboard::read().await?);
    let expressions = dashboard.expressions().filter(|expression| expression.contains("mcsa_importer"));
    let (failures, others): (Vec<_>, Vec<_>) =
        expressions.partition(|expression| expression.contains("failures"));
    ensure!(!failures.is_empty() && !others.is_empty(), "the dashboard has no such expressions");
    let tests = vec![
        healthy.fires(&[], &rules),
        absent.fires(&["McsaImportsFail"], &rules),
        down.fires(&["McsaLinkDown"], &rules),
        expired.fires(&["McsaLinkDown", "McsaTokensExpire"], &rules),
        late.fires(&["McsaRefreshesLate"], &rules),
        none.fires(&["McsaImporterHasNoLeader"], &rules),
        served.fires(&[], &rules),
        not_served.fires(&["McsaNamespaceNotServed"], &rules),
        not_served.for_a_short_time().fires(&[], &rules),
        absent.for_a_short_time().fires(&[], &rules),
        down.for_a_short_time().fires(&[], &rules),
        late.for_a_short_time().fires(&[], &rules),
        none.for_a_short_time().fires(&[], &rules),
        healthy.returns_values(&others),
        absent.returns_values(&failures),
    ];
    run_tests(target.dir(), &rules, tests).await?;
    parse_metrics(target.dir(), &healthy.replicas[0]).await?;
    parse_metrics(target.dir(), &absent.replicas[0]).await?;
    launchers.check_alerts_without_source(&target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_problem_of_a_webhook_fires_its_alert() -> anyhow::Result<()> {
    let target = Cluster::start("c1").await?;
    kubemcsa_ok(target.kubeconfig(), ["install", "--no-wait"])?;
    let daemons = Daemons::start(&target, target.dir(), "info").await?;
    target.kubectl(["label", "namespace", "default", "multicluster-service-account=enabled"]).await?;
    let annotation = "--annotations=multicluster.admiralty.io/service-account-import.name=absent";
    let run = ["run", "pod", "--image=i", "--dry-run=server", annotation];
    eventually("a pod is denied", async || match target.kubectl(run).await {
        Err(error) if error.to_string().contains("ServiceAccountImport not found") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    let denied = |scrape: &Scrape| scrape.value("mcsa_webhook_reviews_total", "denied") == Some(1.0);
    let healthy = daemons.webhook.wait_for_scrape("a pod was denied", denied).await;
    let expiry = healthy
        .value("mcsa_webhook_certificate_expiry_timestamp_seconds", "")
        .context("the metric of the certificate's expiry is missing")?;
    let state = |name, scrape: Scrape| State::now("webhook", name, [scrape.clone(), scrape]);
    let healthy = state("healthy", healthy);
    let scrape = || healthy.replicas[0].clone();
    let unready = state("no webhook is ready", scrape().with_value("mcsa_webhook_ready", "0"));
    let none = State::now("webhook", "no webhook", []);
    let old = state("the cache is old", scrape().with_value("mcsa_webhook_cache_age_seconds", "200"));
    let refused = state("requests are refused", scrape().with_value("mcsa_webhook_reviews_total", "7"));
    let expires = healthy.at("the certificate expires", expiry - 86_400.0);

    let (rules, dashboard) = (Rules::read().await?, Dashboard::read().await?);
    let expressions: Vec<_> =
        dashboard.expressions().filter(|expression| expression.contains("mcsa_webhook")).collect();
    ensure!(!expressions.is_empty(), "the dashboard has no such expressions");
    let tests = vec![
        healthy.fires(&[], &rules),
        unready.fires(&["McsaWebhookIsNotReady"], &rules),
        none.fires(&["McsaWebhookIsNotReady"], &rules),
        old.fires(&["McsaWebhookCacheIsOld"], &rules),
        refused.fires(&["McsaWebhookDoesNotAnswer"], &rules),
        expires.fires(&["McsaWebhookCertificateExpires"], &rules),
        none.for_a_short_time().fires(&[], &rules),
        old.for_a_short_time().fires(&[], &rules),
        healthy.returns_values(&expressions),
    ];
    run_tests(target.dir(), &rules, tests).await?;
    parse_metrics(target.dir(), &healthy.replicas[0]).await
}

#[tokio::test]
async fn rules_are_valid_and_list_all_reasons() -> anyhow::Result<()> {
    let rules = Rules::read().await?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), rules.text()?)?;
    promtool(["check".as_ref(), "rules".as_ref(), "--lint-fatal".as_ref(), file.path().as_os_str()]).await?;
    for alert in rules.alerts() {
        let severity = alert.labels.get("severity").map(String::as_str);
        ensure!(matches!(severity, Some("critical" | "warning")), "{}: {severity:?}", alert.alert);
    }
    let fail = rules
        .alerts()
        .find(|alert| alert.alert == "McsaImportsFail")
        .context("there is no alert McsaImportsFail")?;
    let reasons = fail.expr.split('"').nth(1).context("the expression lists no reasons")?;
    ensure!(reasons.split('|').eq(Reason::FIXED_BY_OWNERS.map(Reason::as_str)), "{reasons}");
    Ok(())
}

#[tokio::test]
async fn pod_monitors_select_their_pods() -> anyhow::Result<()> {
    for binary in ["importer", "webhook", "launcher"] {
        let monitor = object("PodMonitor", binary).await?;
        let manifest = Path::new(FOLDER).with_file_name(format!("{binary}.yaml"));
        let objects = std::fs::read_to_string(manifest)?;
        let objects =
            objects.split("\n---\n").map(serde_saphyr::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let is_deployment = |object: &&Value| object["kind"] == "Deployment";
        let deployment = objects.iter().find(is_deployment).context("the manifest has no Deployment")?;
        let pod = &deployment["spec"]["template"];
        for (name, value) in monitor["spec"]["selector"]["matchLabels"]
            .as_object()
            .context("the PodMonitor has no selector")?
        {
            ensure!(pod["metadata"]["labels"][name] == *value, "pods lack the label {name}: {value}");
        }
        ensure!(monitor["metadata"]["namespace"] == deployment["metadata"]["namespace"]);
        let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
        let ports = pod["spec"]["containers"][0]["ports"].as_array().context("the container has no ports")?;
        ensure!(ports.iter().any(|one| one["name"] == *port), "port {port} is not in {ports:?}");
    }
    let labels = &object("ConfigMap", "multicluster-service-account-dashboard").await?["metadata"]["labels"];
    ensure!(labels["grafana_dashboard"] == "1", "{labels}");
    Ok(())
}
