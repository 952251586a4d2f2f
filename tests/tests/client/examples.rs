//! Runs the client's examples.

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

async fn wait_for_line(process: &Process, line: &str) {
    eventually(format!("{} prints {line:?}", process.name()), async || {
        ensure!(process.log().lines().any(|printed| printed == line), "{}", process.log());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_pods_prints_pods_of_both_clusters() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let process = run("watch_pods", folder.path(), &[c1, c2])?;
    for cluster in [c1, c2] {
        cluster.kubectl(["create", "namespace", "watched"]).await?;
        wait_for_default_service_account(cluster, "watched").await;
        cluster.kubectl(["-n", "watched", "run", "a", "--image=none"]).await?;
    }
    for cluster in ["c1", "c2"] {
        wait_for_line(&process, &format!("{cluster}/watched/a is Pending")).await;
    }
    ensure!(process.terminate().await?.success(), "{}", process.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_configmap_creates_repairs_and_deletes_copies() -> anyhow::Result<()> {
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
    let wait_for_value = async |value: &str| {
        eventually(format!("the copy has {value}"), async || {
            let copy = copies.get("a").await?;
            let data = copy.data.clone().unwrap_or_default();
            ensure!(data.get("key").is_some_and(|found| found == value), "{data:?}");
            Ok(copy)
        })
        .await
    };
    let copy = wait_for_value("1").await;
    let label = copy
        .labels()
        .get("owner.multicluster.admiralty.io/cluster")
        .context("the copy has no owner label")?;
    ensure!(label == "c1", "{label}");

    c1.kubectl(home.iter().chain(&["patch", "configmap", "a", "-p", r#"{"data":{"key":"2"}}"#])).await?;
    wait_for_value("2").await;
    c2.kubectl(home.iter().chain(&["patch", "configmap", "a", "-p", r#"{"data":{"key":"3"}}"#])).await?;
    wait_for_value("2").await;
    c2.kubectl(home.iter().chain(&["delete", "configmap", "a"])).await?;
    wait_for_value("2").await;

    // A ConfigMap that is not a copy is not changed.
    for cluster in [c2, c1] {
        cluster.kubectl(home.iter().chain(&["create", "configmap", "b", "--from-literal=of=us"])).await?;
    }
    c1.kubectl(home.iter().chain(&["label", "configmap", "b", "copy=everywhere"])).await?;
    eventually("the conflict is printed", async || {
        ensure!(
            process.log().contains("copied/b in cluster c2 exists, and is not a copy"),
            "{}",
            process.log()
        );
        Ok(())
    })
    .await;
    ensure!(copies.get("b").await?.labels().is_empty(), "another ConfigMap was taken over");

    // A deletion while the example is stopped is observed after a restart.
    ensure!(process.terminate().await?.success(), "{}", process.log());
    c1.kubectl(home.iter().chain(&["delete", "configmap", "a"])).await?;
    copies.get("a").await.context("the copy was deleted without the example")?;
    let _process = run("copy_configmap", folder.path(), &[c1, c2])?;
    eventually("the orphan is deleted", async || match copies.get_opt("a").await? {
        None => Ok(()),
        Some(copy) => anyhow::bail!("{copy:?}"),
    })
    .await;
    Ok(())
}
