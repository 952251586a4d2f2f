//! Features of Argo that use ConfigMaps: memoization those of the target, and resource templates those of the source.

use k8s_openapi::api::core::v1::ConfigMap;

use super::lifecycle::{node, objects_of, pod_kind};
use super::*;

pub(super) async fn steps_use_config_maps(launched: &Launched) -> anyhow::Result<()> {
    tokio::try_join!(a_memoized_step_runs_once(launched), a_resource_is_created_in_the_source(launched))
        .map(drop)
}

async fn a_memoized_step_runs_once(launched: &Launched) -> anyhow::Result<()> {
    let [main, mut compute, check] = compute_and_check();
    compute["memoize"] =
        json!({ "key": "computed", "maxAge": "24h", "cache": { "configMap": { "name": "outputs" } } });
    let templates = [main, compute, check];
    for name in ["computes", "remembers"] {
        submit(launched, name, &templates).await?;
        let status = ended(launched, name, "Succeeded").await?;
        let is_cached = name == "remembers";
        let compute = node(&status, &format!("{name}[0].compute"))?;
        ensure!(compute["memoizationStatus"]["hit"] == is_cached, "{status}");
        let pods = objects_of(launched, name, &pod_kind()).await?;
        let steps = if is_cached { 1 } else { 2 };
        ensure!(pods.len() == 2 * steps, "not {steps} pods in each cluster: {pods:?}");
    }
    Ok(())
}

/// In the cluster in which the step runs, with the rights that the service account of its pod has there.
async fn a_resource_is_created_in_the_source(launched: &Launched) -> anyhow::Result<()> {
    let account = format!("{NAMESPACE}:default");
    for grant in [
        &["create", "role", "resources", "--verb=create,get", "--resource=configmaps"][..],
        &["create", "rolebinding", "resources", "--role=resources", "--serviceaccount", &account],
    ] {
        launched.source.kubectl([&["-n", NAMESPACE][..], grant].concat()).await?;
    }
    let manifest = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "resource" } });
    let main = json!({
        "name": "main",
        "resource": { "action": "create", "manifest": manifest.to_string() },
        "outputs": { "parameters": [{ "name": "uid", "valueFrom": { "jsonPath": "{.metadata.uid}" } }] },
    });
    let name = submit(launched, "resource", &[main]).await?;
    let status = ended(launched, &name, "Succeeded").await?;
    let created = Api::<ConfigMap>::namespaced(launched.source.client(), NAMESPACE).get("resource").await?;
    let uid = &node(&status, &name)?["outputs"]["parameters"][0]["value"];
    ensure!(uid.is_string() && uid.as_str() == created.uid().as_deref(), "{status}");
    Ok(())
}
