//! The problems of launchers, with the clusters that importers use.

use std::path::Path;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use mcsa_credentials::contract::launch::{FIELD_MANAGER, NODE_MANAGED_BY, NODE_TAINT};
use mcsa_tests::{Cluster, Process, Scrape, eventually, kubemcsa_ok, wait_for_default_service_account};
use serde_json::json;

use super::promtool_tests::{Dashboard, Rules, State, parse_metrics, run_tests};
use super::{NAMESPACE, REASON, SOURCE, replica};

const LEADER: &str = "mcsa_launcher_leader";
const REACHABLE: &str = "mcsa_launcher_source_reachable";
const MAINTAINED: &str = "mcsa_launcher_node_maintained";
const PODS: &str = "mcsa_launcher_pods";
const WAITING: &str = "mcsa_launcher_waiting_pods";

/// Two launchers, and their metrics while their source is reachable.
pub struct Launchers {
    leader: Process,
    healthy: State<'static>,
    waiting: State<'static>,
    not_maintained: State<'static>,
}

impl Launchers {
    /// Starts two launchers, launches a pod, and causes the problems for which the source must be reachable. An importer
    /// must run.
    pub async fn start(target: &Cluster, kubeconfig: &Path) -> anyhow::Result<Self> {
        let args = ["--endpoint-address", "127.0.0.1:0", "--node-address", "127.0.0.1"];
        let leader = replica(target, "launcher", "leader", &args).await?;
        let leads = |scrape: &Scrape| scrape.value(LEADER, "") == Some(1.0);
        leader.wait_for_scrape("the first launcher leads", leads).await;
        let other = replica(target, "launcher", "other", &args).await?;

        target.kubectl(["create", "namespace", NAMESPACE]).await?;
        wait_for_default_service_account(target, NAMESPACE).await;
        let contexts = ["--target-context", target.name(), "--source-context", SOURCE];
        kubemcsa_ok(kubeconfig, ["launch", NAMESPACE].into_iter().chain(contexts))?;
        let is_maintained = |scrape: &Scrape| scrape.value(MAINTAINED, "") == Some(1.0);
        leader.wait_for_scrape("the virtual node is maintained", is_maintained).await;
        create_pod(target, NAMESPACE, "launched").await?;
        let is_launched = |scrape: &Scrape| {
            let created = scrape.value("mcsa_launcher_pods_created_total", "") == Some(1.0);
            let written = scrape.value("mcsa_launcher_status_writes_total", "") > Some(0.0);
            created && written && scrape.value(WAITING, "").is_none()
        };
        leader.wait_for_scrape("a pod is launched", is_launched).await;
        // The source has no node, so there are no logs.
        let logs = target.kubectl(["-n", NAMESPACE, "logs", "launched"]).await;
        ensure!(logs.is_err(), "{logs:?}");
        let is_healthy = |scrape: &Scrape| {
            let endpoint = scrape.value("mcsa_launcher_endpoint_requests_total", "kind=\"containerLogs\"");
            endpoint.is_some()
                && scrape.value(REACHABLE, "") == Some(1.0)
                && scrape.value(PODS, "phase=\"Pending\"") == Some(1.0)
        };
        let healthy = leader.wait_for_scrape("the launcher is healthy", is_healthy).await;
        let other = other.scrape().await?;
        ensure!(other.value(LEADER, "") == Some(0.0), "{}", other.text());
        ensure!(other.value(MAINTAINED, "").is_none(), "{}", other.text());

        // A namespace without a launch import.
        create_pod(target, "default", "stray").await?;
        let waits = |scrape: &Scrape| scrape.value(WAITING, REASON) == Some(1.0);
        let waiting = leader.wait_for_scrape("a pod waits", waits).await;
        target.kubectl(["delete", "pod", "stray"]).await?;
        let waits_no_more = |scrape: &Scrape| scrape.value(WAITING, "").is_none();
        leader.wait_for_scrape("no pod waits", waits_no_more).await;

        target.kubectl(["annotate", "node", SOURCE, &format!("{NODE_MANAGED_BY}-")]).await?;
        let is_lost = |scrape: &Scrape| scrape.value(MAINTAINED, "") == Some(0.0);
        let not_maintained = leader.wait_for_scrape("the node lost its mark", is_lost).await;
        target.kubectl(["annotate", "node", SOURCE, &format!("{NODE_MANAGED_BY}={FIELD_MANAGER}")]).await?;
        leader.wait_for_scrape("the node is maintained again", is_maintained).await;

        let state = |name, replicas: Vec<Scrape>| State::now("launcher", name, replicas);
        Ok(Self {
            leader,
            healthy: state("healthy", vec![healthy, other]),
            waiting: state("a pod waits", vec![waiting]),
            not_maintained: state("the node is not ours", vec![not_maintained]),
        })
    }

    /// Checks that each problem fires its alert. The source must not respond any more.
    pub async fn check_alerts_without_source(self, target: &Cluster) -> anyhow::Result<()> {
        let Self { leader, healthy, waiting, not_maintained } = self;
        target.kubectl(["-n", NAMESPACE, "delete", "pod", "launched", "--wait=false"]).await?;
        let is_away = |scrape: &Scrape| {
            let waiting = scrape.value(WAITING, "SourceUnreachable");
            scrape.value(REACHABLE, "") == Some(0.0) && waiting == Some(1.0)
        };
        let away =
            leader.wait_for_scrape("the source is away, and a deleted pod waits for it", is_away).await;
        let away = State::now("launcher", "the source is away", [away]);
        let none = State::now("launcher", "no launcher", []);
        // Nothing can be evicted.
        let empty = not_maintained.replicas[0].with_value(PODS, "0");
        let empty = State::now("launcher", "the node is not ours and has no pods", [empty]);

        let (rules, dashboard) = (Rules::read().await?, Dashboard::read().await?);
        let expressions = dashboard.expressions().filter(|expression| expression.contains("mcsa_launcher"));
        let (problems, others): (Vec<_>, Vec<_>) = expressions
            .partition(|expression| expression.contains("failures") || expression.contains("waiting"));
        ensure!(!problems.is_empty() && !others.is_empty(), "the dashboard has no such expressions");
        let tests = vec![
            healthy.fires(&[], &rules),
            waiting.fires(&["McsaPodsNotLaunched"], &rules),
            not_maintained.fires(&["McsaVirtualNodeNotMaintained"], &rules),
            empty.fires(&[], &rules),
            away.fires(&["McsaLaunchSourceUnreachable"], &rules),
            none.fires(&["McsaLauncherHasNoLeader"], &rules),
            waiting.for_a_short_time().fires(&[], &rules),
            not_maintained.for_a_short_time().fires(&[], &rules),
            away.for_a_short_time().fires(&[], &rules),
            none.for_a_short_time().fires(&[], &rules),
            healthy.returns_values(&others),
            waiting.returns_values(&problems),
        ];
        run_tests(target.dir(), &rules, tests).await?;
        parse_metrics(target.dir(), &healthy.replicas[0]).await?;
        parse_metrics(target.dir(), &waiting.replicas[0]).await
    }
}

/// Creates a pod on the virtual node, as the webhook and the scheduler do.
async fn create_pod(target: &Cluster, namespace: &str, name: &str) -> anyhow::Result<()> {
    let pod = json!({
        "metadata": { "name": name },
        "spec": {
            "nodeName": SOURCE,
            "tolerations": [{ "key": NODE_TAINT, "value": SOURCE }],
            "containers": [{ "name": "one", "image": "i" }],
        },
    });
    let (pods, pod) = (Api::<Pod>::namespaced(target.client(), namespace), serde_json::from_value(pod)?);
    eventually(format!("pod {name} is created"), async || pods.create(&PostParams::default(), &pod).await)
        .await;
    Ok(())
}
