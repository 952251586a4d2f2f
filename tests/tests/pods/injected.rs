//! Another admission plugin adds a container after the webhook has reviewed the pod.

use super::*;

/// Adds a container to pods that already have the import `a`, and thus never before the webhook.
fn injector() -> Value {
    // Not a match condition: the API server reinvokes only plugins that it has already invoked.
    let container = "Object.spec.containers{name: 'injected', image: 'i'}";
    let condition = "object.spec.volumes.exists(v, v.name == 'sai-a') && \
                     !object.spec.containers.exists(c, c.name == 'injected')";
    let addition = format!("JSONPatch{{op: 'add', path: '/spec/containers/0', value: {container}}}");
    let expression = format!("[{addition}].filter(addition, {condition})");
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
    });
    let namespace = json!({ "matchLabels": { "kubernetes.io/metadata.name": "injected" } });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": "injector" },
        "spec": {
            "matchConstraints": { "namespaceSelector": namespace, "resourceRules": [rule] },
            "reinvocationPolicy": "IfNeeded",
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": "injector" },
        "spec": { "policyName": "injector" },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [policy, binding] })
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_container_gets_the_imports() -> anyhow::Result<()> {
    let Fixture { cluster, .. } = fixture().await;
    let pods = enabled_namespace(cluster, "injected").await?;
    imports(cluster, "injected").await?;
    let file = cluster.dir().join("injector.json");
    std::fs::write(&file, injector().to_string())?;
    cluster.kubectl(["apply", "-f", &file.display().to_string()]).await?;
    let dry_run = PostParams { dry_run: true, ..Default::default() };
    // The API server observes the policy with a delay.
    let stored = eventually("a container is injected", async || {
        let stored = pods.create(&dry_run, &pod("p", annotations())?).await?;
        ensure!(spec(&stored)?.containers.len() == 3, "{stored:?}");
        Ok(stored)
    })
    .await;
    let spec = spec(&stored)?;
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        for import in ["a", "b.c", "bare"] {
            ensure!(mounts_import(spec, container, import), "{} lacks {import}: {stored:?}", container.name);
        }
        let mounts = container.volume_mounts.iter().flatten();
        let mounts = mounts.filter(|mount| mount.mount_path.starts_with(MOUNT_ROOT));
        ensure!(mounts.count() == 3, "an import is mounted twice: {container:?}");
        ensure!(variable(container, "KUBECONFIG").is_some(), "{container:?}");
    }
    Ok(())
}
