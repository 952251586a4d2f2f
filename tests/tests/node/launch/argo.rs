//! Workflows of an unmodified Argo, whose steps run in the source.

mod cli;
mod config_maps;
mod lifecycle;
mod secrets;

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use mcsa_tests::{Argo, Cluster, kubemcsa_ok};

use super::*;

const NAMESPACE: &str = "flows";

/// A report that is not the launcher's.
const OTHERS: &str = "taken";

/// A report of the launcher's whose pods are gone.
const LEFT_OVER: &str = "left-over";

pub(super) async fn steps_and_their_outputs(launched: &mut Launched) -> anyhow::Result<()> {
    let argo = Argo::start(&launched.home, NAMESPACE).await?;
    Argo::load_executor(&launched.source).await?;
    outputs_need_a_right(launched).await?;
    outputs_of_one_step_reach_the_next(launched).await?;
    exit_codes_are_those_of_the_source(launched).await?;
    create_report(&launched.source, LEFT_OVER, "launcher-c1").await?;
    reports_of_others_are_left_alone(launched).await?;
    lifecycle::features_of_argo(launched).await?;
    tokio::try_join!(cli::the_cli_works(launched), config_maps::steps_use_config_maps(launched))?;
    lifecycle::results_of_a_loop_are_aggregated(launched).await?;
    a_step_that_cannot_report_fails(launched).await?;
    // Before the launcher is started again, and observes it anew.
    is_deleted(&reports(&launched.source), LEFT_OVER).await;
    outputs_survive_a_killed_launcher(launched).await?;
    lifecycle::a_kill_is_not_lost(launched).await?;
    secrets::steps_run_by_argos_secrets(launched).await?;
    a_source_with_an_argo_of_its_own_keeps_outputs(launched).await?;
    // The source still has Argo's kinds.
    secrets::the_stub_keeps_outputs(launched).await?;
    secrets::nodes_end_with_the_secrets(launched).await?;
    drop(argo);
    secrets::the_home_cluster_has_a_name(launched).await
}

/// Before `launch --argo`, a step waits. Afterwards, it runs.
async fn outputs_need_a_right(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    let name = submit(launched, "granted", &[script("main", "echo 1")]).await?;
    let advice = event(launched, NAMESPACE, &name, "NoRightsToOutputs").await;
    ensure!(advice.contains("kubemcsa launch flows --argo"), "{advice}");
    grant(launched)?;
    ended(launched, &name, "Succeeded").await?;
    // Garbage collection in the source deletes it with the pod.
    home.kubectl(["-n", NAMESPACE, "delete", "workflow", &name]).await?;
    let left = reports(&launched.source);
    eventually_within(DEADLINE, "nothing is left in the source", async || {
        let left = left.list(&ListParams::default()).await?;
        ensure!(left.items.is_empty(), "{left:?}");
        anyhow::Ok(())
    })
    .await;
    no_pods(launched, NAMESPACE).await;
    Ok(())
}

async fn outputs_of_one_step_reach_the_next(launched: &Launched) -> anyhow::Result<()> {
    let name = submit(launched, "outputs", &compute_and_check()).await?;
    ended(launched, &name, "Succeeded").await.map(drop)
}

async fn exit_codes_are_those_of_the_source(launched: &Launched) -> anyhow::Result<()> {
    let name = submit(launched, "fails", &[script("main", "exit 3")]).await?;
    let status = ended(launched, &name, "Failed").await?;
    ensure!(status["nodes"][&name]["outputs"]["exitCode"] == "3", "{status}");
    Ok(())
}

/// A workflow of another target can have a node of the same name. Its report exists already.
async fn reports_of_others_are_left_alone(launched: &Launched) -> anyhow::Result<()> {
    create_report(&launched.source, OTHERS, "taken").await?;
    let name = submit(launched, OTHERS, &[script("main", "echo 1")]).await?;
    ended(launched, &name, "Succeeded").await?;
    let report = reports(&launched.source).get(OTHERS).await?;
    ensure!(report.data.get("outputs").is_none() && report.owner_references().len() == 1, "{report:?}");
    Ok(())
}

/// Creates a report of a workflow that does not exist.
async fn create_report(cluster: &Cluster, name: &str, workflow: &str) -> anyhow::Result<()> {
    let owner =
        json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": workflow, "uid": "other" });
    let report = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTaskResult",
        "metadata": {
            "name": name,
            "labels": { "workflows.argoproj.io/workflow": workflow },
            "ownerReferences": [owner],
        },
    });
    reports(cluster).create(&PostParams::default(), &serde_json::from_value(report)?).await?;
    Ok(())
}

async fn is_deleted(reports: &Api<DynamicObject>, name: &str) {
    eventually_within(DEADLINE, format!("report {name} is deleted"), async || {
        ensure!(reports.get_opt(name).await?.is_none(), "it exists");
        anyhow::Ok(())
    })
    .await;
}

/// What `argo terminate` does.
async fn terminate(launched: &Launched, name: &str) -> anyhow::Result<()> {
    let shutdown = Patch::Merge(json!({ "spec": { "shutdown": "Terminate" } }));
    workflows(launched.home.client()).patch(name, &PatchParams::default(), &shutdown).await?;
    Ok(())
}

/// argoexec has no right to report. Argo must not wait for the outputs.
async fn a_step_that_cannot_report_fails(launched: &Launched) -> anyhow::Result<()> {
    let binding = ["-n", NAMESPACE, "delete", "rolebinding", "launcher-c1-argoexec"];
    launched.source.kubectl(binding).await?;
    let name = submit(launched, "mute", &[script("main", "echo 1")]).await?;
    let workflow = finished(launched, &name).await;
    let status = &workflow.data["status"];
    ensure!(status["phase"] == "Error" || status["phase"] == "Failed", "{status}");
    grant(launched)
}

/// The step ends while no launcher runs.
async fn outputs_survive_a_killed_launcher(launched: &mut Launched) -> anyhow::Result<()> {
    let name = submit(launched, "killed", &[writes_file("main", "sleep 2; echo 7 > /work/file")]).await?;
    phase(launched, NAMESPACE, &name, "Running").await;
    launched.launcher().kill();
    let pods = Api::<Pod>::namespaced(launched.source.client(), NAMESPACE);
    eventually_within(DEADLINE, "the step has ended in the source", async || {
        let status = pods.get(&name).await?.status.unwrap_or_default();
        ensure!(status.phase.as_deref() == Some("Succeeded"), "{status:?}");
        anyhow::Ok(())
    })
    .await;
    launched.restart_launcher().await?;
    let status = ended(launched, &name, "Succeeded").await?;
    ensure!(status["nodes"][&name]["outputs"]["parameters"][0]["value"] == "7", "{status}");
    Ok(())
}

/// Garbage collection in the source would delete the outputs of a workflow that is not there.
async fn a_source_with_an_argo_of_its_own_keeps_outputs(launched: &Launched) -> anyhow::Result<()> {
    reports(&launched.source).get(OTHERS).await.context("the launcher has deleted a report of others")?;
    let _theirs = Argo::start(&launched.source, NAMESPACE).await?;
    // Garbage collection tries the old report only after minutes, because it did not know the kind of its owner until now.
    create_report(&launched.source, "unowned", "gone").await?;
    is_deleted(&reports(&launched.source), "unowned").await;
    let name = submit(launched, "kept", &[writes_file("main", "echo 8 > /work/file")]).await?;
    let advice = event(launched, NAMESPACE, &name, "OutputsNotKept").await;
    ensure!(advice.contains("kubemcsa launch flows --argo"), "{advice}");
    grant(launched)?;
    let status = ended(launched, &name, "Succeeded").await?;
    ensure!(status["nodes"][&name]["outputs"]["parameters"][0]["value"] == "8", "{status}");
    let stub = workflows(launched.source.client()).get("launcher-c1").await?;
    let remote = Api::<Pod>::namespaced(launched.source.client(), NAMESPACE).get(&name).await?;
    let containers = remote.spec.context("no spec")?.containers;
    let variables = containers.into_iter().flat_map(|container| container.env.unwrap_or_default());
    let owners: Vec<_> = variables.filter(|it| it.name == "ARGO_WORKFLOW_UID").map(|it| it.value).collect();
    ensure!(owners == [stub.uid()], "argoexec has these owners: {owners:?}");
    ensure!(stub.data.get("status").is_none(), "the source's Argo has processed {stub:?}");
    lifecycle::a_deleted_workflow_leaves_nothing(launched, "deleted-again").await
}

fn grant(launched: &Launched) -> anyhow::Result<()> {
    let launch = ["launch", NAMESPACE, "--argo", "--target-context", "c1", "--source-context", "c2"];
    kubemcsa_ok(&launched.kubeconfig, launch).map(drop)
}

/// A template with a shell script.
fn script(name: &str, source: &str) -> Value {
    json!({ "name": name, "script": { "image": TOOLS_IMAGE, "command": ["sh"], "source": source } })
}

/// The same, with the file `/work/file` as its output parameter.
fn writes_file(name: &str, source: &str) -> Value {
    let mut template = script(name, source);
    template["outputs"] =
        json!({ "parameters": [{ "name": "file", "valueFrom": { "path": "/work/file" } }] });
    template["volumes"] = json!([{ "name": "work", "emptyDir": {} }]);
    template["script"]["volumeMounts"] = json!([{ "name": "work", "mountPath": "/work" }]);
    template
}

/// Templates of a step that has a result and an output parameter, and of the next one, which fails unless it gets them.
fn compute_and_check() -> [Value; 3] {
    let steps = json!([
        [{ "name": "compute", "template": "compute" }],
        [{
            "name": "check",
            "template": "check",
            "arguments": { "parameters": [
                { "name": "result", "value": "{{steps.compute.outputs.result}}" },
                { "name": "file", "value": "{{steps.compute.outputs.parameters.file}}" },
            ] },
        }],
    ]);
    let compute = writes_file("compute", "echo 42; echo contents > /work/file");
    let condition = "[ {{inputs.parameters.result}} = 42 ] && [ {{inputs.parameters.file}} = contents ]";
    let mut check = script("check", condition);
    check["inputs"] = json!({ "parameters": [{ "name": "result" }, { "name": "file" }] });
    let main = json!({ "name": "main", "steps": steps });
    [main, compute, check]
}

/// Submits a workflow whose steps must run in the source, and returns its name. Its only pod has the same name if it has
/// no other template.
async fn submit(launched: &Launched, name: &str, templates: &[Value]) -> anyhow::Result<String> {
    submit_with(launched, name, &[], templates).await
}

/// The same, with additional fields of the spec.
async fn submit_with(
    launched: &Launched,
    name: &str,
    fields: &[(&str, Value)],
    templates: &[Value],
) -> anyhow::Result<String> {
    create_workflow(launched, workflow(name, fields, templates)).await
}

/// A workflow whose steps must run in the source, with additional fields of the spec.
fn workflow(name: &str, fields: &[(&str, Value)], templates: &[Value]) -> Value {
    let mut workflow = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "entrypoint": "main",
            "podMetadata": { "annotations": { "multicluster.admiralty.io/clustername": "c2" } },
            "templates": templates,
        },
    });
    for (field, value) in fields {
        workflow["spec"][*field] = value.clone();
    }
    workflow
}

async fn create_workflow(launched: &Launched, workflow: Value) -> anyhow::Result<String> {
    let workflow = serde_json::from_value(workflow)?;
    let created = workflows(launched.home.client()).create(&PostParams::default(), &workflow).await?;
    Ok(created.name_any())
}

/// Waits until a workflow has ended, and returns it.
async fn finished(launched: &Launched, name: &str) -> DynamicObject {
    let workflows = workflows(launched.home.client());
    // The large loop takes minutes.
    eventually_within(4 * DEADLINE, format!("workflow {name} has ended"), async || {
        let workflow = workflows.get(name).await?;
        ensure!(workflow.data["status"]["finishedAt"].is_string(), "{}", workflow.data["status"]);
        anyhow::Ok(workflow)
    })
    .await
}

/// Waits until a workflow has ended, and returns its status. Fails if it has ended in another phase.
async fn ended(launched: &Launched, name: &str, phase: &str) -> anyhow::Result<Value> {
    let status = finished(launched, name).await.data["status"].clone();
    ensure!(status["phase"] == phase, "workflow {name}: {status}");
    Ok(status)
}

fn workflows(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow");
    Api::namespaced_with(client, NAMESPACE, &ApiResource::from_gvk(&kind))
}

/// What argoexec has reported in a cluster.
fn reports(cluster: &Cluster) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client(), NAMESPACE, &task_results())
}

fn task_results() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "WorkflowTaskResult"))
}
