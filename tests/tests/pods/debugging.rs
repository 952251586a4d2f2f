//! `kubectl debug`: ephemeral containers get the imports of their pod.

use k8s_openapi::api::core::v1::EphemeralContainer;
use kube::api::PatchParams;

use super::*;

/// The ephemeral containers of a pod, as containers.
async fn ephemeral(pods: &Api<Pod>, name: &str) -> anyhow::Result<(PodSpec, Vec<Container>)> {
    let spec = pods.get(name).await?.spec.context("spec")?;
    let containers = spec.ephemeral_containers.iter().flatten();
    let container = |container: &EphemeralContainer| serde_json::from_value(serde_json::to_value(container)?);
    let containers = containers.map(container).collect::<Result<_, _>>()?;
    Ok((spec, containers))
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_container_gets_the_imports_of_its_pod() -> anyhow::Result<()> {
    let Fixture { cluster, .. } = fixture().await;
    let pods = enabled_namespace(cluster, "debugging").await?;
    imports(cluster, "debugging").await?;
    let debug = async |pod: &str, name: &str| {
        let args = ["-n", "debugging", "debug", pod, "--image=i", "-c", name, "--profile=general"];
        cluster.kubectl(args).await
    };
    pods.create(&PostParams::default(), &pod("p", annotations())?).await?;
    let before = pods.get("p").await?;
    for name in ["first", "second"] {
        debug("p", name).await?;
    }
    let (spec, containers) = ephemeral(&pods, "p").await?;
    ensure!(containers.len() == 2, "{containers:?}");
    for container in &containers {
        ensure!(
            ["a", "b.c", "bare"].iter().all(|import| mounts_import(&spec, container, import)),
            "{container:?}"
        );
        let expected = format!("{MOUNT_ROOT}/b.c/value:{MOUNT_ROOT}/a/config");
        ensure!(variable(container, "KUBECONFIG") == Some(&expected), "{container:?}");
    }
    let mut after = pods.get("p").await?.spec.context("spec")?;
    after.ephemeral_containers = None;
    ensure!(Some(&after) == before.spec.as_ref(), "something else was changed: {after:?}");

    // Imports that the pod was created without are skipped, and debugging is allowed.
    pods.create(&PostParams::default(), &pod("late", json!({ IMPORT_NAME: "a" }))?).await?;
    let patch = json!({ "metadata": { "annotations": { IMPORT_NAME: "bare,a,gone", KUBECONFIG_ENV: "?" } } });
    pods.patch("late", &PatchParams::default(), &kube::api::Patch::Merge(patch)).await?;
    debug("late", "debug").await?;
    let (spec, containers) = ephemeral(&pods, "late").await?;
    let [container] = containers.as_slice() else { anyhow::bail!("{containers:?}") };
    ensure!(
        mounts_import(&spec, container, "a") && !mounts_import(&spec, container, "bare"),
        "{container:?}"
    );
    ensure!(variable(container, "KUBECONFIG").is_none(), "{container:?}");

    // The pod keeps its volumes when the imports are deleted.
    cluster.kubectl(["-n", "debugging", "delete", "serviceaccountimports", "--all"]).await?;
    eventually("the webhook observes the deletion", async || {
        let params = PostParams { dry_run: true, ..Default::default() };
        let denied = pods.create(&params, &pod("denied", annotations())?).await;
        ensure!(denied.as_ref().is_err_and(|error| error.to_string().contains("not found")), "{denied:?}");
        anyhow::Ok(())
    })
    .await;
    debug("p", "third").await?;
    let (spec, containers) = ephemeral(&pods, "p").await?;
    let third = containers.iter().find(|container| container.name == "third").context("third")?;
    ensure!(["a", "b.c", "bare"].iter().all(|import| mounts_import(&spec, third, import)), "{third:?}");
    let expected = format!("{MOUNT_ROOT}/b.c/value:{MOUNT_ROOT}/a/config");
    ensure!(variable(third, "KUBECONFIG") == Some(&expected), "{third:?}");
    Ok(())
}
