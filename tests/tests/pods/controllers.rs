//! Pods that controllers create from a template with the annotation.

use kube::api::ListParams;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_controllers_get_the_imports_of_their_template() -> anyhow::Result<()> {
    let Fixture { cluster, .. } = fixture().await;
    let pods = enabled_namespace(cluster, "controllers").await?;
    imports(cluster, "controllers").await?;
    // A node without a kubelet, for the DaemonSet.
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
        let created = eventually(format!("the pods of the {app}"), async || {
            let created = pods.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
            ensure!(created.len() == count, "{} pods", created.len());
            Ok(created)
        })
        .await;
        created.iter().try_for_each(check).with_context(|| format!("a pod of the {app}"))?;
    }
    Ok(())
}
