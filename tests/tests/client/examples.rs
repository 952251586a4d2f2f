//! The examples, as they are copied from.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use mcsa_tests::{
    Cluster, Process, eventually, example, shared_clusters, wait_for_default_service_account,
    write_merged_kubeconfig,
};

fn run(name: &str, folder: &Path, clusters: &[&Cluster]) -> anyhow::Result<Process> {
    let kubeconfig = folder.join("kubeconfig");
    write_merged_kubeconfig(clusters, &kubeconfig)?;
    let mut command = Command::new(example(name)?);
    command.args(clusters.iter().map(|cluster| cluster.name())).env("KUBECONFIG", kubeconfig);
    Process::spawn(name, &command, folder.join("log"))
}

async fn says(process: &Process, line: &str) {
    eventually(format!("{} says {line:?}", process.name()), async || {
        ensure!(process.log().lines().any(|said| said == line), "{}", process.log());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_pods_tells_of_both_clusters() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let process = run("watch_pods", folder.path(), &[c1, c2])?;
    for cluster in [c1, c2] {
        cluster.kubectl(["create", "namespace", "watched"]).await?;
        wait_for_default_service_account(cluster, "watched").await;
        cluster.kubectl(["-n", "watched", "run", "a", "--image=none"]).await?;
    }
    for cluster in ["c1", "c2"] {
        says(&process, &format!("{cluster}/watched/a is Pending")).await;
    }
    ensure!(process.terminate().await?.success(), "{}", process.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_configmap_copies_mends_and_deletes() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    for cluster in [c1, c2] {
        cluster.kubectl(["create", "namespace", "copied"]).await?;
    }
    let home = ["-n", "copied"];
    c1.kubectl(home.iter().chain(&["create", "configmap", "a", "--from-literal=key=1"])).await?;
    c1.kubectl(home.iter().chain(&["label", "configmap", "a", "copy=everywhere"])).await?;
    let process = run("copy_configmap", folder.path(), &[c1, c2])?;
    let copies = Api::<ConfigMap>::namespaced(c2.client(), "copied");
    let is = async |value: &str| {
        eventually(format!("the copy has {value}"), async || {
            let copy = copies.get("a").await?;
            let data = copy.data.clone().unwrap_or_default();
            ensure!(data.get("key").is_some_and(|found| found == value), "{data:?}");
            Ok(copy)
        })
        .await
    };
    let copy = is("1").await;
    let label = copy.labels().get("owner.multicluster.admiralty.io/cluster").context("it has no owner")?;
    ensure!(label == "c1", "{label}");

    c1.kubectl(home.iter().chain(&["patch", "configmap", "a", "-p", r#"{"data":{"key":"2"}}"#])).await?;
    is("2").await;
    c2.kubectl(home.iter().chain(&["patch", "configmap", "a", "-p", r#"{"data":{"key":"3"}}"#])).await?;
    is("2").await;
    c2.kubectl(home.iter().chain(&["delete", "configmap", "a"])).await?;
    is("2").await;

    // What is somebody else's is left alone.
    for cluster in [c2, c1] {
        cluster.kubectl(home.iter().chain(&["create", "configmap", "b", "--from-literal=of=us"])).await?;
    }
    c1.kubectl(home.iter().chain(&["label", "configmap", "b", "copy=everywhere"])).await?;
    eventually("it says whose it is", async || {
        ensure!(
            process.log().contains("copied/b in cluster c2 exists, and is not a copy"),
            "{}",
            process.log()
        );
        Ok(())
    })
    .await;
    ensure!(copies.get("b").await?.labels().is_empty(), "it was taken over");

    // What goes while nobody is there is noticed afterwards.
    ensure!(process.terminate().await?.success(), "{}", process.log());
    c1.kubectl(home.iter().chain(&["delete", "configmap", "a"])).await?;
    copies.get("a").await.context("the copy went by itself")?;
    let _process = run("copy_configmap", folder.path(), &[c1, c2])?;
    eventually("the orphan is deleted", async || match copies.get_opt("a").await? {
        None => Ok(()),
        Some(copy) => anyhow::bail!("{copy:?}"),
    })
    .await;
    Ok(())
}
