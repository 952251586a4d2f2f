//! Pods that ask for a cluster.

use super::*;
use kube::ResourceExt;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_credentials::contract::launch::{CLUSTER_NAME, ELECT, LABEL, NODE_LABEL, NODE_TAINT, STOPPING};

/// Creates launch imports of these clusters.
async fn launch_imports(cluster: &Cluster, namespace: &str, sources: &[&str]) -> anyhow::Result<()> {
    let imports = Imports::of(cluster.client(), namespace);
    for source in sources {
        let mut import = pod_lister_import(source, source, namespace);
        import.labels_mut().insert(LABEL.into(), "true".into());
        imports.create(&import).await?;
    }
    Ok(())
}

/// The clusters whose virtual nodes the pod tolerates.
fn tolerated(pod: &Pod) -> anyhow::Result<Vec<&str>> {
    let tolerations = spec(pod)?.tolerations.iter().flatten();
    let of_clusters = tolerations.filter(|toleration| toleration.key.as_deref() == Some(NODE_TAINT));
    Ok(of_clusters.filter_map(|toleration| toleration.value.as_deref()).collect())
}

/// The terms of the required node affinity.
fn terms(pod: &Pod) -> anyhow::Result<Value> {
    let affinity = json!(spec(pod)?.affinity);
    let terms = affinity
        .pointer("/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")
        .context("the pod has no required node affinity")?;
    Ok(terms.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_may_run_in_the_clusters_of_their_launch_imports() -> anyhow::Result<()> {
    let Fixture { cluster, .. } = fixture().await;
    let pods = enabled_namespace(cluster, "launching").await?;
    launch_imports(cluster, "launching", &["c2", "c3"]).await?;
    let home = json!({ "matchExpressions": [{ "key": NODE_LABEL, "operator": "DoesNotExist" }] });
    let within = |clusters: &[&str]| json!({ "matchExpressions": [{ "key": NODE_LABEL, "operator": "In", "values": clusters }] });
    // At once: the watch may not have delivered the imports yet.
    for (name, annotations, clusters, expected) in [
        ("named", json!({ CLUSTER_NAME: "c3" }), &["c3"][..], json!([within(&["c3"])])),
        ("elected", json!({ ELECT: "" }), &["c2", "c3"], json!([home, within(&["c2", "c3"])])),
    ] {
        let created = eventually("all imports are known", async || {
            let params = PostParams { dry_run: true, ..Default::default() };
            let created = pods.create(&params, &pod(name, annotations.clone())?).await?;
            ensure!(tolerated(&created)? == clusters, "{:?}", tolerated(&created)?);
            Ok(created)
        })
        .await;
        ensure!(terms(&created)? == expected, "{name}: {}", terms(&created)?);
    }
    // kubemcsa launch --stop waits until the pods have ended: no new ones are placed.
    let stopping = format!("{LABEL}={STOPPING}");
    cluster.kubectl(["-n", "launching", "label", "--overwrite", "sai", "c3", &stopping]).await?;
    eventually("no pods are placed in c3", async || {
        let params = PostParams { dry_run: true, ..Default::default() };
        let named = pods.create(&params, &pod("named", json!({ CLUSTER_NAME: "c3" }))?).await;
        ensure!(
            named.as_ref().is_err_and(|error| error.to_string().contains("launch imports of c2 only")),
            "{named:?}"
        );
        let elected = pods.create(&params, &pod("elected", json!({ ELECT: "" }))?).await?;
        ensure!(tolerated(&elected)? == ["c2"], "{:?}", tolerated(&elected)?);
        anyhow::Ok(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pods_that_name_a_cluster_need_a_launch_import() -> anyhow::Result<()> {
    let Fixture { cluster, .. } = fixture().await;
    let pods = enabled_namespace(cluster, "staying").await?;
    let create = async |annotations| {
        pods.create(&PostParams::default(), &pod("p", annotations)?).await.map_err(anyhow::Error::from)
    };
    let refusal = create(json!({ CLUSTER_NAME: "c2" })).await.unwrap_err().to_string();
    ensure!(
        refusal.contains("namespace staying has no launch import; run kubemcsa launch staying "),
        "{refusal}"
    );
    let elected = create(json!({ ELECT: "" })).await?;
    ensure!(tolerated(&elected)?.is_empty(), "{elected:?}");

    // A source knows this cluster as west.
    let mut link = pod_lister_import("c2", "c2", SYSTEM_NAMESPACE);
    link.spec.name = "west".into();
    link.labels_mut().insert(LINK_LABEL.into(), "true".into());
    Imports::of(cluster.client(), SYSTEM_NAMESPACE).create(&link).await?;
    let stays = eventually("the link is known", async || {
        let params = PostParams { dry_run: true, ..Default::default() };
        Ok::<_, anyhow::Error>(pods.create(&params, &pod("q", json!({ CLUSTER_NAME: "west" }))?).await?)
    })
    .await;
    ensure!(tolerated(&stays)?.is_empty(), "{stays:?}");
    let home = json!([{ "matchExpressions": [{ "key": NODE_LABEL, "operator": "DoesNotExist" }] }]);
    ensure!(terms(&stays)? == home, "{}", terms(&stays)?);
    Ok(())
}
