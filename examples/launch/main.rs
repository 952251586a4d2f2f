//! Runs a pod of one new cluster in another, and shows each step: `kubectl logs` and `exec` work in c1, and the pod's
//! containers run in c2.
//!
//! `cargo run --example launch`. With Linux, root and the packages of a node, a real kubelet runs the pod. Otherwise, this
//! program plays the kubelet: it writes the status of the pod in c2.

#[path = "../narrator.rs"]
mod narrator;
#[path = "../virtual_node.rs"]
mod virtual_node;

use std::ops::Deref;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_tests::{Cluster, Launched, TOOLS_IMAGE, eventually};
use serde_json::json;

use crate::narrator::Narrator;

const NAMESPACE: &str = "team-a";

const POD: &str = r#"apiVersion: v1
kind: Pod
metadata:
  name: hello
  annotations:
    multicluster.admiralty.io/clustername: c2
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: hello
    image: IMAGE
    command: [sh, -c, "echo hello from $(cat /etc/hostname); sleep 3600"]
"#;

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    mcsa_runtime::exit::report("launch", mcsa_tests::unless_interrupted(run()).await)
}

async fn run() -> anyhow::Result<()> {
    let mut narrator = Narrator::new();
    narrator.title("A pod of cluster c1 runs in cluster c2");

    narrator.step("Building the programs, and Kubernetes if it is not in the cache");
    mcsa_tests::program("mcsa-launcher")?;
    mcsa_tests::binaries().await?;
    narrator.done("built");

    narrator.step("Starting c1 and c2, with kubemcsa install and bootstrap as in the quickstart");
    match Launched::start().await? {
        Some(launched) => {
            narrator.done("c1 has a scheduler and no node; c2 has a real node");
            let pod = run_pod(&mut narrator, &launched, async |_| Ok(())).await?;
            look_into(&mut narrator, &launched, &pod).await?;
            delete(&mut narrator, &launched).await
        }
        None => {
            let source = Box::new(Cluster::builder("c2").start().await?);
            let launched = Launched::with_source(source).await?;
            narrator.done("neither has a node: this program will write the status of the pod in c2 itself");
            run_pod(&mut narrator, &launched, play_kubelet).await?;
            delete(&mut narrator, &launched).await
        }
    }
}

/// Creates a pod in c1, and waits until it runs in c2. `kubelet` makes it run there, if no kubelet does.
async fn run_pod<S: Deref<Target = Cluster>>(
    narrator: &mut Narrator,
    launched: &Launched<S>,
    kubelet: impl AsyncFn(&Launched<S>) -> anyhow::Result<()>,
) -> anyhow::Result<Pod> {
    let home = &launched.home;
    narrator.step("Allowing the pods of namespace team-a in c1 to run in team-a of c2");
    virtual_node::create_namespace(home, NAMESPACE).await?;
    virtual_node::launch(narrator, launched, NAMESPACE, &[]).await?;

    narrator.step("In c1: creating a pod that must run in c2");
    let text = POD.replace("IMAGE", TOOLS_IMAGE);
    narrator.yaml(&text);
    let pods = Api::<Pod>::namespaced(home.client(), NAMESPACE);
    let created = Instant::now();
    pods.create(&PostParams::default(), &serde_saphyr::from_str(&text)?).await?;
    kubelet(launched).await?;
    let pod = eventually("the pod runs", async || {
        let pod = pods.get("hello").await?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        ensure!(phase == Some("Running"), "{:?}", pod.status);
        anyhow::Ok(pod)
    });
    let pod = pod.await;
    let running_after = created.elapsed();
    for context in ["c1", "c2"] {
        narrator.command(&format!("kubectl --context {context} -n team-a get pods -o wide"));
        let cluster: &Cluster = if context == "c1" { home } else { &launched.source };
        narrator.output(&cluster.kubectl(["-n", NAMESPACE, "get", "pods", "-o", "wide"]).await?);
    }
    narrator.done("the scheduler of c1 bound it to the node c2, and the launcher created its twin there");
    narrator.table(
        "Figures",
        &[
            ("from created in c1 to running there", format!("{} ms", running_after.as_millis())),
            ("this program so far", format!("{:.0} s", narrator.elapsed().as_secs_f64())),
        ],
    );
    Ok(pod)
}

async fn look_into(narrator: &mut Narrator, launched: &Launched, pod: &Pod) -> anyhow::Result<()> {
    narrator.step("In c1: reading the log of the pod, and running a command in it");
    let home = &launched.home;
    narrator.command("kubectl --context c1 -n team-a logs hello");
    let log = eventually("the pod has logged a line", async || {
        let log = home.kubectl(["-n", NAMESPACE, "logs", "hello"]).await?;
        ensure!(log.contains("hello from"), "{log:?}");
        anyhow::Ok(log)
    });
    narrator.output(&log.await);
    narrator.command("kubectl --context c1 -n team-a exec hello -- cat /etc/hostname");
    let name = home.kubectl(["-n", NAMESPACE, "exec", "hello", "--", "cat", "/etc/hostname"]).await?;
    narrator.output(&name);
    ensure!(name.trim() == pod.name_any(), "the command ran in {name:?}");
    narrator.done("the API server of c1 asked the launcher, and the launcher the API server of c2");
    Ok(())
}

async fn delete<S: Deref<Target = Cluster>>(
    narrator: &mut Narrator,
    launched: &Launched<S>,
) -> anyhow::Result<()> {
    narrator.step("In c1: deleting the pod");
    narrator.command("kubectl --context c1 -n team-a delete pod hello");
    narrator.output(&launched.home.kubectl(["-n", NAMESPACE, "delete", "pod", "hello"]).await?);
    let left = launched.source.kubectl(["-n", NAMESPACE, "get", "pods", "-o", "name"]).await?;
    ensure!(left.is_empty(), "c2 still has {left}");
    narrator.done("it is gone from c2, too");
    Ok(())
}

/// Writes the status of the pod in c2, as a kubelet would.
async fn play_kubelet<S: Deref<Target = Cluster>>(launched: &Launched<S>) -> anyhow::Result<()> {
    let pods = Api::<Pod>::namespaced(launched.source.client(), NAMESPACE);
    let pod = eventually("c2 has the pod", async || pods.get("hello").await).await;
    let container = pod.spec.context("a pod has a spec")?.containers.into_iter().next();
    let image = container.and_then(|container| container.image).unwrap_or_default();
    let status = json!({ "status": {
        "phase": "Running",
        "conditions": [{ "type": "Ready", "status": "True" }, { "type": "ContainersReady", "status": "True" }],
        "containerStatuses": [{
            "name": "hello", "image": image, "imageID": "", "ready": true, "restartCount": 0,
            "state": { "running": {} },
        }],
    }});
    pods.patch_status("hello", &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}
