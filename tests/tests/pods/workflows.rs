//! Templates of Argo Workflows that name a cluster and a namespace. No Argo runs.

use mcsa_credentials::contract::launch::{CLUSTER_NAME, REMOTE_NAMESPACE};
use mcsa_tests::install_argo_kind;

use super::*;

const NAMESPACE: &str = "templates";

/// The kinds that have templates.
const KINDS: [&str; 4] = ["Workflow", "WorkflowTemplate", "CronWorkflow", "ClusterWorkflowTemplate"];

/// The kubectl command that creates an object as a dry run.
const TRY: [&str; 2] = ["create", "--dry-run=server"];

fn is_namespaced(kind: &str) -> bool {
    kind != "ClusterWorkflowTemplate"
}

/// An object whose workflows have this spec.
fn object(kind: &str, name: &str, spec: Value) -> Value {
    let spec = if kind == "CronWorkflow" { json!({ "workflowSpec": spec }) } else { spec };
    let mut metadata = json!({ "name": name });
    if is_namespaced(kind) {
        metadata["namespace"] = NAMESPACE.into();
    }
    json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec })
}

/// A spec with a template for this cluster.
fn spec(cluster: &Value) -> Value {
    json!({
        "entrypoint": "main",
        "templates": [{
            "name": "main", "cluster": cluster, "namespace": "default", "container": { "image": "i" },
        }],
    })
}

/// A template with an inline template in a step, beside steps of other types.
fn in_steps(inline: &Value) -> Value {
    json!({ "steps": [7, [], [7, { "inline": null }, { "template": "main" }, { "inline": inline }]] })
}

/// The same in a task.
fn in_tasks(inline: &Value) -> Value {
    json!({ "dag": { "tasks": [7, [], { "inline": null }, { "template": "main" }, { "inline": inline }] } })
}

/// Writes a file for kubectl.
fn write(cluster: &Cluster, object: &Value) -> anyhow::Result<String> {
    let file = cluster.dir().join("templates.json");
    std::fs::write(&file, object.to_string())?;
    Ok(file.display().to_string())
}

/// Passes an object to a kubectl command, and returns the API server's response.
async fn run(cluster: &Cluster, command: &[&str], object: &Value) -> anyhow::Result<Value> {
    let file = write(cluster, object)?;
    let stdout = cluster.kubectl([command, &["-o", "json", "-f", &file]].concat()).await?;
    Ok(serde_json::from_str(&stdout)?)
}

/// Checks the annotations, and that the fields are still there.
fn check_template(stored: &Value, cluster: &str) -> anyhow::Result<()> {
    let spec = stored["spec"].get("workflowSpec").unwrap_or(&stored["spec"]);
    let template = &spec["templates"][0];
    let annotations = json!({ CLUSTER_NAME: cluster, REMOTE_NAMESPACE: "default" });
    ensure!(template["metadata"]["annotations"] == annotations, "{stored}");
    ensure!(template["cluster"] == cluster && template["namespace"] == "default", "{stored}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_templates_become_annotations() -> anyhow::Result<()> {
    let Fixture { cluster, daemons } = fixture().await;
    // The fields are translated without the label of pods, too.
    cluster.kubectl(["create", "namespace", NAMESPACE]).await?;
    for kind in KINDS {
        install_argo_kind(cluster, kind, None).await?;
        let named = object(kind, "named", spec(&json!("cluster-1")));
        // The API server observes the kind with a delay.
        eventually(format!("the fields of a {kind} are translated"), async || {
            check_template(&run(cluster, &TRY, &named).await?, "cluster-1")
        })
        .await;
        check_template(&run(cluster, &["apply"], &named).await?, "cluster-1")?;
        // Apply replaces the list of templates, and with it the annotations. The patch changes the field only, as `kubectl
        // edit` does. A label changes nothing.
        check_template(
            &run(cluster, &["apply"], &object(kind, "named", spec(&json!("cluster-2")))).await?,
            "cluster-2",
        )?;
        let path = if kind == "CronWorkflow" { "/spec/workflowSpec" } else { "/spec" };
        let path = format!("{path}/templates/0/cluster");
        let patch = json!([{ "op": "replace", "path": path, "value": "cluster-3" }]).to_string();
        let patch = ["patch", "--type", "json", "--patch", &patch];
        check_template(&run(cluster, &patch, &named).await?, "cluster-3")?;
        check_template(&run(cluster, &["label", "updated=true"], &named).await?, "cluster-3")?;

        let wrong = object(kind, "wrong", spec(&json!(7)));
        let error = run(cluster, &TRY, &wrong).await.unwrap_err().to_string();
        let path = if kind == "CronWorkflow" { "spec.workflowSpec" } else { "spec" };
        let message = format!("{path}.templates[0] (main): cluster must be a string");
        ensure!(error.contains(&message), "{error}");

        for odd in [
            json!({}),
            json!(null),
            json!({ "templates": null, "templateDefaults": null }),
            json!({ "templates": {}, "templateDefaults": [] }),
            json!({ "templates": [null, 7, "cluster", [], {}, { "name": "main" }] }),
            json!({ "templates": [{ "steps": 7, "dag": 7 }, { "steps": {}, "dag": { "tasks": {} } }] }),
            json!({ "templates": [in_steps(&json!("cluster")), in_steps(&json!({ "name": "cluster" }))] }),
            json!({ "templates": [in_tasks(&json!(["cluster"])), in_tasks(&json!({ "container": {} }))] }),
        ] {
            let plain = object(kind, "plain", odd);
            run(cluster, &TRY, &plain).await.with_context(|| plain.to_string())?;
        }
        let odd = json!({ "templates": [7, { "name": "main", "cluster": "c2" }], "templateDefaults": 7 });
        let mixed = run(cluster, &TRY, &object(kind, "mixed", odd)).await?;
        ensure!(mixed.to_string().contains(CLUSTER_NAME), "{mixed}");
        for field in ["cluster", "namespace"] {
            let inline = json!({ field: "c2" });
            for template in [in_steps(&inline), in_tasks(&inline)] {
                let inlined = object(kind, "inlined", json!({ "templates": [{}, template] }));
                let created = run(cluster, &TRY, &inlined).await?;
                ensure!(created.to_string().contains(r#""annotations":{"multicluster."#), "{created}");
            }
        }
    }
    let mut many = spec(&json!("c2"));
    many["templates"] = vec![json!({ "cluster": "c2" }); 1_001].into();
    let error = run(cluster, &TRY, &object("Workflow", "many", many)).await.unwrap_err().to_string();
    ensure!(error.contains("more than 1000 templates"), "{error}");
    let warned = [TRY[0], TRY[1], "--warnings-as-errors"];
    let warned = run(cluster, &warned, &object("Workflow", "warned", spec(&json!("c2")))).await.unwrap_err();
    ensure!(warned.to_string().contains("namespace templates has no launch import"), "{warned}");
    let without_spec = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": { "name": "plain", "namespace": NAMESPACE },
    });
    run(cluster, &TRY, &without_spec).await?;
    let log = daemons.webhook.log();
    ensure!(log.contains("workflow=\"mixed\"") && !log.contains("workflow=\"plain\""), "{log}");
    Ok(())
}
