//! Runs the steps of an Argo workflow of one new cluster in another, and shows what happens: Argo Workflows is
//! unmodified and runs in c1 only, the steps run in c2, and their results reach the next steps.
//!
//! `cargo run --example argo`. A real kubelet runs the steps, which needs Linux, root and the packages of a node.

mod graph;
#[path = "../narrator.rs"]
mod narrator;
#[path = "../virtual_node.rs"]
mod virtual_node;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use mcsa_tests::{Argo, Launched, READY_TIMEOUT, TOOLS_IMAGE, eventually_within};
use serde_json::Value;

use crate::graph::Step;
use crate::narrator::Narrator;

const NAMESPACE: &str = "team-a";

const WORKFLOW: &str = include_str!("scenario-b.yaml");

/// The sum of all amounts in the workflow.
const TOTAL: &str = "83";

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    mcsa_runtime::exit::report("argo", mcsa_tests::unless_interrupted(run()).await)
}

async fn run() -> anyhow::Result<()> {
    let mut narrator = Narrator::new();
    narrator.title("Steps of a workflow of cluster c1 run in cluster c2");

    narrator.step("Building the programs, and Kubernetes if it is not in the cache");
    mcsa_tests::program("mcsa-launcher")?;
    mcsa_tests::binaries().await?;
    narrator.done("built");

    narrator.step("Starting c1 and c2, with kubemcsa install and bootstrap as in the quickstart");
    let launched = Launched::start().await?.context(
        "this machine can't run the steps, for the reason above: a node needs Linux, root, and the packages runc, \
         iptables, iproute2 and busybox-static",
    )?;
    narrator.done("c1 has a scheduler and no node; c2 has a real node");

    narrator.step("Starting Argo Workflows, unmodified, for namespace team-a of c1");
    virtual_node::create_namespace(&launched.home, NAMESPACE).await?;
    let _argo = Argo::start(&launched.home, NAMESPACE).await?;
    Argo::load_executor(&launched.source).await?;
    narrator.done("c1 has its kinds and its controller; c2 has only the image of its executor");

    narrator.step("Allowing the pods of namespace team-a in c1, and Argo's steps, to run in team-a of c2");
    virtual_node::launch(&narrator, &launched, NAMESPACE, &["--argo"]).await?;

    let steps = run_workflow(&mut narrator, &launched).await?;
    show_log(&mut narrator, &launched, &steps).await
}

/// Creates the workflow in c1, waits until it has ended, and returns its steps.
async fn run_workflow(narrator: &mut Narrator, launched: &Launched) -> anyhow::Result<Vec<Step>> {
    let home = &launched.home;
    narrator.step(
        "In c1: creating the workflow examples/argo/scenario-b.yaml, with c2 as the cluster of all steps",
    );
    // c1 has no node, and c2's node has no registry to pull images from.
    let text = WORKFLOW.replace("value: c1", "value: c2");
    let text = text.replace("image: busybox", &format!("image: {TOOLS_IMAGE}"));
    narrator.yaml(&text);
    let workflow: Value = serde_saphyr::from_str(&text)?;
    let workflow: DynamicObject = serde_json::from_value(workflow)?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"));
    let workflows = Api::<DynamicObject>::namespaced_with(home.client(), NAMESPACE, &kind);
    let created = Instant::now();
    let name = workflows.create(&PostParams::default(), &workflow).await?.name_any();
    let workflow = eventually_within(2 * READY_TIMEOUT, format!("workflow {name} has ended"), async || {
        let workflow = workflows.get(&name).await?;
        ensure!(workflow.data["status"]["finishedAt"].is_string(), "{}", workflow.data["status"]);
        anyhow::Ok(workflow)
    });
    let workflow = workflow.await;
    let finished_after = created.elapsed();

    let status = &workflow.data["status"];
    let selected = ListParams::default().labels(&format!("workflows.argoproj.io/workflow={name}"));
    let pods = Api::<Pod>::namespaced(home.client(), NAMESPACE).list(&selected).await?.items;
    let steps = graph::steps(status, &pods);
    narrator.output(&graph::table(&steps));
    ensure!(status["phase"] == "Succeeded", "workflow {name} did not succeed: {status}");
    ensure!(steps.iter().all(|step| step.cluster == "c2"), "not all steps ran in c2");
    let total = steps.last().and_then(|step| step.result.as_deref());
    ensure!(total == Some(TOTAL), "the total is {total:?} instead of {TOTAL}");
    narrator.done(
        "the launcher brought the results of the first two steps to c1, where Argo passed them to the last",
    );

    narrator.table(
        "Figures",
        &[
            ("from created to finished", format!("{:.1} s", finished_after.as_secs_f64())),
            ("this program so far", format!("{:.0} s", narrator.elapsed().as_secs_f64())),
        ],
    );
    Ok(steps)
}

async fn show_log(narrator: &mut Narrator, launched: &Launched, steps: &[Step]) -> anyhow::Result<()> {
    narrator.step("Looking at the pods in c2, and in c1 at the log of a step");
    narrator.command("kubectl --context c2 -n team-a get pods");
    narrator.output(&launched.source.kubectl(["-n", NAMESPACE, "get", "pods"]).await?);
    let step = steps.last().context("the workflow has no steps")?;
    narrator.command(&format!("kubectl --context c1 -n team-a logs {} -c main", step.pod));
    let log = launched.home.kubectl(["-n", NAMESPACE, "logs", &step.pod, "-c", "main"]).await?;
    narrator.output(&log);
    ensure!(log.lines().any(|line| line == TOTAL), "the log lacks the total: {log:?}");
    narrator.done("the API server of c1 asked the launcher, and the launcher the API server of c2");
    Ok(())
}
