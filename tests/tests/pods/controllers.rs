//! Pods that nobody makes by hand: their controllers copy a template with the annotation.

use kube::api::ListParams;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_every_controller_get_what_their_template_names() -> anyhow::Result<()> {
    let World { cluster, .. } = world().await;
    let pods = enabled(cluster, "controllers").await?;
    imports(cluster, "controllers").await?;
    // For the DaemonSet: no kubelet has to be on it.
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" } });
    let object = |kind: &str, version: &str, spec: Value| {
        let name = kind.to_lowercase();
        let mut template = template(annotations());
        template["metadata"]["labels"] = json!({ "app": name });
        template["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
        let mut object =
            json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "spec": spec });
        object["spec"]["template"] = template;
        if kind == "Job" {
            object["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
        } else {
            object["spec"]["selector"] = json!({ "matchLabels": { "app": name } });
        }
        object
    };
    let objects = [
        node,
        object("Deployment", "apps/v1", json!({ "replicas": 2 })),
        object("StatefulSet", "apps/v1", json!({ "replicas": 2, "podManagementPolicy": "Parallel" })),
        object("DaemonSet", "apps/v1", json!({})),
        object("Job", "batch/v1", json!({ "completions": 2, "parallelism": 2 })),
    ];
    let file = cluster.dir().join("controllers.json");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    std::fs::write(&file, list.to_string())?;
    cluster.kubectl(["-n", "controllers", "apply", "-f", &file.display().to_string()]).await?;
    for (app, count) in [("deployment", 2), ("statefulset", 2), ("daemonset", 1), ("job", 2)] {
        let made = eventually(format!("the pods of the {app}"), async || {
            let made = pods.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
            ensure!(made.len() == count, "{} pods", made.len());
            Ok(made)
        })
        .await;
        made.iter().try_for_each(check).with_context(|| format!("a pod of the {app}"))?;
    }
    Ok(())
}
