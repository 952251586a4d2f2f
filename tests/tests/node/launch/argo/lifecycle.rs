//! Features of Argo that start, stop, combine and delete the pods of steps.

use super::*;

/// The number of steps of the loop. Each takes two seconds of a small machine.
const STEPS: u32 = 40;

/// A shell script that runs until it is terminated.
const ENDLESS: &str = "trap 'exit 0' TERM; while sleep 1; do :; done";

/// All workflows run at the same time.
pub(super) async fn features_of_argo(launched: &Launched) -> anyhow::Result<()> {
    tokio::try_join!(
        a_failed_step_is_tried_again(launched),
        deleted_pods_leave_their_outputs(launched, "completed", "OnPodCompletion"),
        deleted_pods_leave_their_outputs(launched, "succeeded", "OnWorkflowSuccess"),
        a_daemon_has_an_address_and_is_stopped(launched),
        a_sidecar_is_stopped(launched),
        containers_of_a_set_run_in_order(launched),
        an_exit_handler_knows_the_status(launched),
        a_deleted_workflow_leaves_nothing(launched, "deleted"),
        the_example_with_elected_clusters_runs(launched),
        templates_name_their_cluster_and_namespace(launched),
    )
    .map(drop)
}

async fn a_failed_step_is_tried_again(launched: &Launched) -> anyhow::Result<()> {
    let mut main = script("main", "[ {{retries}} -gt 0 ]");
    main["retryStrategy"] = json!({ "limit": "2" });
    let name = submit(launched, "retried", &[main]).await?;
    let status = ended(launched, &name, "Succeeded").await?;
    let (first, second) = (node(&status, "retried(0)")?, node(&status, "retried(1)")?);
    ensure!(first["phase"] == "Failed" && second["phase"] == "Succeeded", "{status}");
    ensure!(first["id"] != second["id"], "{status}");
    Ok(())
}

/// Argo deletes the home pods without a delay.
async fn deleted_pods_leave_their_outputs(
    launched: &Launched,
    name: &str,
    strategy: &str,
) -> anyhow::Result<()> {
    let collection = json!({ "strategy": strategy, "deleteDelayDuration": "0s" });
    submit_with(launched, name, &[("podGC", collection)], &compute_and_check()).await?;
    ended(launched, name, "Succeeded").await?;
    none_left(launched, name, &pod_kind()).await;
    Ok(())
}

async fn a_daemon_has_an_address_and_is_stopped(launched: &Launched) -> anyhow::Result<()> {
    let server = json!({
        "name": "server",
        "daemon": true,
        "container": {
            "image": TOOLS_IMAGE,
            "command": ["sh", "-c", ENDLESS],
            "readinessProbe": { "exec": { "command": ["ls"] }, "periodSeconds": 1 },
        },
    });
    let steps = json!([[{ "name": "server", "template": "server" }], [step("check", "{{steps.server.ip}}")]]);
    let main = json!({ "name": "main", "steps": steps });
    let check = takes_value("check", "[ -n '{{inputs.parameters.value}}' ]");
    let name = submit(launched, "daemon", &[main, server, check]).await?;
    ended(launched, &name, "Succeeded").await?;
    eventually_within(DEADLINE, "the daemon has ended in both clusters", async || {
        let pods = objects_of(launched, &name, &pod_kind()).await?;
        ensure!(pods.len() == 4, "not two pods in each cluster: {pods:?}");
        for pod in pods {
            let status = &pod.data["status"];
            ensure!(status["phase"] == "Succeeded" || status["phase"] == "Failed", "{status}");
        }
        anyhow::Ok(())
    })
    .await;
    Ok(())
}

/// The sidecar is killed, so the pod fails. For Argo, the step has succeeded.
async fn a_sidecar_is_stopped(launched: &Launched) -> anyhow::Result<()> {
    let mut main = writes_file("main", "echo 9 > /work/file");
    main["sidecars"] = json!([{ "name": "side", "image": TOOLS_IMAGE, "command": ["sleep", "infinity"] }]);
    let name = submit(launched, "sidecar", &[main]).await?;
    let status = ended(launched, &name, "Succeeded").await?;
    ensure!(node(&status, &name)?["outputs"]["parameters"][0]["value"] == "9", "{status}");
    Ok(())
}

async fn containers_of_a_set_run_in_order(launched: &Launched) -> anyhow::Result<()> {
    let container = |name: &str, script: &str, dependencies: &[&str]| {
        json!({
            "name": name,
            "image": TOOLS_IMAGE,
            "command": ["sh", "-c", script],
            "dependencies": dependencies,
        })
    };
    let containers = [
        container("a", "sleep 1; echo 1 > /work/file", &[]),
        container("b", "[ \"$(cat /work/file)\" = 1 ]", &["a"]),
    ];
    let mounts = json!([{ "name": "work", "mountPath": "/work" }]);
    let main = json!({
        "name": "main",
        "volumes": [{ "name": "work", "emptyDir": {} }],
        "containerSet": { "volumeMounts": mounts, "containers": containers },
    });
    let name = submit(launched, "set", &[main]).await?;
    let status = ended(launched, &name, "Succeeded").await?;
    for container in ["set.a", "set.b"] {
        ensure!(node(&status, container)?["phase"] == "Succeeded", "{status}");
    }
    Ok(())
}

async fn an_exit_handler_knows_the_status(launched: &Launched) -> anyhow::Result<()> {
    let handler = script("handler", "[ {{workflow.status}} = Failed ]");
    let fields = [("onExit", json!("handler"))];
    let name = submit_with(launched, "handled", &fields, &[script("main", "exit 1"), handler]).await?;
    let status = ended(launched, &name, "Failed").await?;
    ensure!(node(&status, "handled.onExit")?["phase"] == "Succeeded", "{status}");
    Ok(())
}

pub(super) async fn results_of_a_loop_are_aggregated(launched: &Launched) -> anyhow::Result<()> {
    let mut echo = step("echo", "{{item}}");
    echo["withSequence"] = json!({ "count": STEPS.to_string() });
    let steps = json!([[echo], [step("check", "{{steps.echo.outputs.result}}")]]);
    let main = json!({ "name": "main", "steps": steps });
    let echo = takes_value("echo", "echo {{inputs.parameters.value}}");
    let numbers = json!((0..STEPS).collect::<Vec<_>>());
    let check = takes_value("check", &format!("[ '{{{{inputs.parameters.value}}}}' = '{numbers}' ]"));
    let collection = json!({ "strategy": "OnPodSuccess", "deleteDelayDuration": "0s" });
    let fields = [("parallelism", json!(20)), ("podGC", collection)];
    let name = submit_with(launched, "loop", &fields, &[main, echo, check]).await?;
    ended(launched, &name, "Succeeded").await?;
    none_left(launched, &name, &pod_kind()).await;
    Ok(())
}

pub(super) async fn a_deleted_workflow_leaves_nothing(launched: &Launched, name: &str) -> anyhow::Result<()> {
    let name = submit(launched, name, &[script("main", ENDLESS)]).await?;
    phase(launched, NAMESPACE, &name, "Running").await;
    let pod = Api::<Pod>::namespaced(launched.home.client(), NAMESPACE).get(&name).await?;
    let (uid, reports) = (pod.uid().context("no UID")?, reports(&launched.source));
    eventually_within(DEADLINE, "argoexec has reported the start", async || reports.get(&uid).await).await;
    launched.home.kubectl(["-n", NAMESPACE, "delete", "workflow", &name]).await?;
    for kind in [pod_kind(), task_results()] {
        none_left(launched, &name, &kind).await;
    }
    is_deleted(&reports, &uid).await;
    Ok(())
}

/// Argo tries to end the step again, as long as it runs.
pub(super) async fn a_kill_is_not_lost(launched: &mut Launched) -> anyhow::Result<()> {
    let name = submit(launched, "lost-kill", &[script("main", ENDLESS)]).await?;
    phase(launched, NAMESPACE, &name, "Running").await;
    launched.launcher().kill();
    terminate(launched, &name).await?;
    let log = launched.home.dir().join("workflow-controller.log");
    eventually_within(DEADLINE, "Argo has tried to end the step", async || {
        let log = std::fs::read_to_string(&log)?;
        let is_of_step = |line: &&str| line.contains("error dialing backend") && line.contains(&name);
        ensure!(log.lines().any(|line| is_of_step(&line)), "no call has failed");
        anyhow::Ok(())
    })
    .await;
    launched.restart_launcher().await?;
    ended(launched, &name, "Failed").await.map(drop)
}

/// The other example is run by `cargo run --example argo`.
async fn the_example_with_elected_clusters_runs(launched: &Launched) -> anyhow::Result<()> {
    let text = include_str!("../../../../../examples/argo/scenario-a.yaml");
    let workflow = serde_saphyr::from_str(&text.replace("busybox", TOOLS_IMAGE))?;
    let name = create_workflow(launched, workflow).await?;
    ended(launched, &name, "Succeeded").await?;
    // The home cluster has no node.
    let pods = objects_of(launched, &name, &pod_kind()).await?;
    ensure!(pods.len() == 2 * 10, "{} pods in both clusters", pods.len());
    Ok(())
}

/// Without annotations. The kinds have the fields since `kubemcsa launch --argo`, so kubectl accepts them. A
/// parameter can name the cluster.
async fn templates_name_their_cluster_and_namespace(launched: &Launched) -> anyhow::Result<()> {
    let placed = |name: &str, cluster: &str| {
        let container = json!({ "image": TOOLS_IMAGE, "command": ["sh", "-c", "echo 1"] });
        json!({ "name": name, "cluster": cluster, "namespace": NAMESPACE, "container": container })
    };
    let mut own = placed("own", "{{inputs.parameters.value}}");
    own["inputs"] = json!({ "parameters": [{ "name": "value" }] });
    let steps = json!([[
        step("own", "c2"),
        { "name": "shared", "templateRef": { "name": "placed", "template": "shared" } },
    ]]);
    let main = json!({ "name": "main", "steps": steps });
    for (kind, name, spec) in [
        ("WorkflowTemplate", "placed", json!({ "templates": [placed("shared", "c2")] })),
        ("Workflow", "fields", json!({ "entrypoint": "main", "templates": [main, own] })),
    ] {
        let object = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": kind,
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": spec,
        });
        let file = launched.home.dir().join(format!("{name}.json"));
        std::fs::write(&file, object.to_string())?;
        launched.home.kubectl(["create", "--validate=strict", "-f", &file.display().to_string()]).await?;
    }
    ended(launched, "fields", "Succeeded").await?;
    let pods = objects_of(launched, "fields", &pod_kind()).await?;
    ensure!(pods.len() == 4, "not two pods in each cluster: {pods:?}");
    Ok(())
}

/// A template with a shell script that takes an input parameter `value`.
fn takes_value(name: &str, source: &str) -> Value {
    let mut template = script(name, source);
    template["inputs"] = json!({ "parameters": [{ "name": "value" }] });
    template
}

/// A step that passes a value to the template of its name.
fn step(name: &str, value: &str) -> Value {
    let arguments = json!({ "parameters": [{ "name": "value", "value": value }] });
    json!({ "name": name, "template": name, "arguments": arguments })
}

/// The node with this name in the status of a workflow.
pub(super) fn node<'a>(status: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    let mut nodes = status["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
    nodes.find(|node| node["name"] == name).with_context(|| format!("no node {name} in {status}"))
}

/// Waits until neither cluster has an object of this kind that belongs to a workflow.
async fn none_left(launched: &Launched, workflow: &str, kind: &ApiResource) {
    let what = format!("neither cluster has a {} of workflow {workflow}", kind.kind);
    eventually_within(DEADLINE, what, async || {
        let left = objects_of(launched, workflow, kind).await?;
        ensure!(left.is_empty(), "{left:?}");
        anyhow::Ok(())
    })
    .await;
}

/// The objects of a kind that belong to a workflow, in both clusters.
pub(super) async fn objects_of(
    launched: &Launched,
    workflow: &str,
    kind: &ApiResource,
) -> anyhow::Result<Vec<DynamicObject>> {
    let selected = ListParams::default().labels(&format!("workflows.argoproj.io/workflow={workflow}"));
    let mut objects = Vec::new();
    for client in [launched.home.client(), launched.source.client()] {
        let api = Api::<DynamicObject>::namespaced_with(client, NAMESPACE, kind);
        objects.extend(api.list(&selected).await?.items);
    }
    Ok(objects)
}

pub(super) fn pod_kind() -> ApiResource {
    ApiResource::erase::<Pod>(&())
}
