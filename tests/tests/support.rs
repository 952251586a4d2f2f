//! `Cluster` works, and leaves nothing behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mcsa_tests::{
    Cluster, Process, eventually, example, kubectl, kubernetes_version, shared_clusters,
    write_merged_kubeconfig,
};
use serde_json::json;

#[tokio::test]
async fn pods_can_be_created_and_deleted() -> anyhow::Result<()> {
    let (c1, _) = shared_clusters().await;
    let pods: Api<Pod> = Api::default_namespaced(c1.client());
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "pending"},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }))?;
    let created = pods.create(&PostParams::default(), &pod).await?;
    let account = created.spec.and_then(|spec| spec.service_account_name);
    assert_eq!(account.as_deref(), Some("default"));
    pods.delete("pending", &DeleteParams::default()).await?;
    eventually("the pod is gone", async || match pods.get_opt("pending").await? {
        None => Ok(()),
        Some(pod) => Err(anyhow::anyhow!("the pod still exists: {:?}", pod.metadata)),
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn clusters_are_separate() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    assert_ne!(c1.server(), c2.server());
    assert_ne!(c1.ca_pem(), c2.ca_pem());
    c1.kubectl(["create", "configmap", "only-in-c1"]).await?;

    let folder = tempfile::tempdir()?;
    let merged = folder.path().join("merged");
    write_merged_kubeconfig(&[c1, c2], &merged)?;
    kubectl(&merged, ["--context", "c1", "get", "configmap", "only-in-c1"]).await?;
    let missing = kubectl(&merged, ["--context", "c2", "get", "configmap", "only-in-c1"]).await;
    let message = missing.expect_err("the object is in c2, too").to_string();
    assert!(message.contains("NotFound"), "{message}");

    let both = std::env::join_paths([c1.kubeconfig(), c2.kubeconfig()])?;
    let contexts = kubectl(&both, ["config", "get-contexts", "-o", "name"]).await?;
    assert_eq!(contexts, "c1\nc2\n");
    let version = c1.client().apiserver_version().await?;
    assert_eq!(version.git_version, kubernetes_version());
    Ok(())
}

/// If another component held a supervisor's pipe open, the supervisor would not notice that this process has ended.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn components_do_not_inherit_pipes() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let ours = pipes(std::process::id(), true)?;
    assert!(ours.len() >= 6, "fewer pipes than components: {ours:?}");
    for pid in c1.pids().into_iter().chain(c2.pids()) {
        let shared: Vec<_> = pipes(pid, false)?.intersection(&ours).cloned().collect();
        assert_eq!(shared, Vec::<PathBuf>::new(), "process {pid} has inherited pipes");
    }
    Ok(())
}

/// The open pipes of a process. Those that it opened itself are closed on exec; others, like cargo's job server, are
/// inherited from its parent.
#[cfg(target_os = "linux")]
fn pipes(pid: u32, closed_on_exec: bool) -> anyhow::Result<BTreeSet<PathBuf>> {
    const O_CLOEXEC: u32 = 0o2_000_000;
    let mut pipes = BTreeSet::new();
    for descriptor in std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        // Other tests open and close files at the same time.
        let Ok(target) = descriptor.path().read_link() else { continue };
        let number = descriptor.file_name().into_string().unwrap_or_default();
        let Ok(info) = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).context("no flags")?;
        let flags = u32::from_str_radix(flags.trim(), 8)?;
        if target.to_string_lossy().starts_with("pipe:") && (!closed_on_exec || flags & O_CLOEXEC != 0) {
            pipes.insert(target);
        }
    }
    Ok(pipes)
}

#[tokio::test]
async fn data_survives_a_restart_of_the_api_server() -> anyhow::Result<()> {
    let cluster = Cluster::builder("c3").audit_log().start().await?;
    cluster.kubectl(["create", "configmap", "kept", "--from-literal=a=b"]).await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let port = cluster.port();

    cluster.stop_api_server();
    assert!(maps.get("kept").await.is_err());
    cluster.start_api_server().await?;

    assert_eq!(cluster.port(), port);
    let map = maps.get("kept").await?;
    assert_eq!(map.data.and_then(|data| data.get("a").cloned()).as_deref(), Some("b"));

    let created = |event: &&mcsa_tests::AuditEvent| {
        let object = event.object_ref.as_ref();
        event.verb == "create" && object.is_some_and(|object| object.name == "kept")
    };
    let events = cluster.audit_events()?;
    let created: Vec<_> = events.iter().filter(created).collect();
    assert_eq!(created.len(), 1);
    assert_eq!(created[0].user.username, "admin");
    assert_eq!(created[0].response_status.as_ref().map(|status| status.code), Some(201));
    Ok(())
}

#[tokio::test]
async fn dropped_cluster_leaves_only_logs() -> anyhow::Result<()> {
    let cluster = Cluster::start("c4").await?;
    let (dir, pids) = (cluster.dir().to_path_buf(), cluster.pids());
    std::fs::create_dir_all(dir.join("own/secret"))?;
    std::fs::write(dir.join("own/program.log"), "said")?;
    std::fs::write(dir.join("own/secret/kubeconfig"), "secret")?;
    drop(cluster);
    let left = files(&dir)?;
    let components = ["etcd.log", "kube-apiserver.log", "kube-controller-manager.log"];
    assert_eq!(left, components.into_iter().chain(["lock", "own/program.log"]).map(PathBuf::from).collect());
    std::fs::remove_dir_all(dir)?;
    pids.into_iter().try_for_each(ensure_gone)
}

#[tokio::test]
async fn failed_test_prints_the_folder_of_its_logs() -> anyhow::Result<()> {
    const THIS: &str = "support::failed_test_prints_the_folder_of_its_logs";
    const FAIL_BY: &str = "MCSA_TEST_FAIL_BY";
    // This test runs itself, below, as the test that fails.
    match std::env::var(FAIL_BY).as_deref() {
        Ok("error") => {
            let _cluster = Cluster::start("failed").await?;
            anyhow::bail!("on purpose")
        }
        Ok("panic") => {
            let _cluster = Cluster::start("failed").await?;
            panic!("on purpose")
        }
        Ok("shared") => {
            shared_clusters().await;
            anyhow::bail!("on purpose")
        }
        _ => {}
    }
    for (failure, clusters) in [("error", 1), ("panic", 1), ("shared", 2)] {
        let this = std::env::current_exe()?;
        let output = Command::new(this).env(FAIL_BY, failure).args(["--exact", THIS]).output()?;
        ensure!(output.status.code() == Some(101), "no failure by {failure}: {output:?}");
        let stderr = String::from_utf8(output.stderr)?;
        let lines = stderr.lines().filter(|line| line.contains(THIS));
        let folders: Vec<_> =
            lines.filter_map(|line| Some(PathBuf::from(line.split_once(" logs to ")?.1))).collect();
        ensure!(folders.len() == clusters, "a failure by {failure} prints {folders:?}: {stderr}");
        for dir in folders {
            ensure!(dir.join("kube-apiserver.log").metadata()?.len() > 0, "{} is empty", dir.display());
            std::fs::remove_dir_all(dir)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn error_of_a_failed_start_names_component_and_log() {
    let failed = Cluster::builder("c5").api_server_arg("--no-such-flag").start().await;
    let error = format!("{:#}", failed.expect_err("a flag that does not exist was accepted"));
    for part in
        ["starting cluster c5", "kube-apiserver ended", "kube-apiserver.log", "unknown flag: --no-such-flag"]
    {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    let log = error.split_whitespace().find(|word| word.ends_with("kube-apiserver.log"));
    let folder = log.and_then(|log| Path::new(log).parent()).expect("the error names the log");
    assert!(folder.exists(), "the folder with the log is removed");
    std::fs::remove_dir_all(folder).expect("the folder can be removed");
}

#[tokio::test]
async fn components_end_with_a_killed_process() -> anyhow::Result<()> {
    let logs = tempfile::tempdir()?;
    let holder = Process::spawn("holder", &Command::new(example("hold_cluster")?), logs.path().join("log"))?;
    let (dir, pids) = eventually("the cluster runs", async || parse_held(&holder.log())).await;
    for pid in &pids {
        ensure!(ensure_gone(*pid).is_err(), "process {pid} does not run");
    }
    holder.kill();
    eventually("the components are gone", async || pids.iter().try_for_each(|pid| ensure_gone(*pid))).await;
    eventually(
        "etcd's data is gone",
        async || {
            if dir.join("etcd").exists() { Err("it exists") } else { Ok(()) }
        },
    )
    .await;
    assert!(dir.join("kube-apiserver.log").exists(), "the logs are removed");
    Ok(std::fs::remove_dir_all(dir)?)
}

#[tokio::test]
async fn kept_cluster_runs_until_its_stop_command() -> anyhow::Result<()> {
    let holder = Command::new(example("hold_cluster")?).arg("keep").stdin(Stdio::null()).output()?;
    ensure!(holder.status.success(), "{}", String::from_utf8_lossy(&holder.stderr));
    let output = String::from_utf8(holder.stdout)?;
    let (dir, pids) = parse_held(&output)?;
    let listed = kubectl(dir.join("kubeconfig"), ["get", "namespaces"]).await;

    let stop = output.lines().last().context("no stop command")?;
    ensure!(Command::new("sh").args(["-c", stop]).status()?.success(), "{stop}");
    eventually("the components are gone", async || pids.iter().try_for_each(|pid| ensure_gone(*pid))).await;
    assert!(!dir.exists());
    listed.map(drop)
}

/// The files below a folder.
fn files(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root)?.to_path_buf());
            }
        }
    }
    Ok(found)
}

/// The folder and process IDs that `hold_cluster` prints.
fn parse_held(output: &str) -> anyhow::Result<(PathBuf, Vec<u32>)> {
    let mut lines = output.lines().skip_while(|line| !line.starts_with('/'));
    let dir = lines.next().with_context(|| format!("no folder in {output:?}"))?;
    let pids = lines.next().context("no process IDs")?;
    Ok((dir.into(), pids.split(' ').map(str::parse).collect::<Result<_, _>>()?))
}

/// Fails while the process exists. A zombie counts as gone: its new parent has not reaped it yet.
fn ensure_gone(pid: u32) -> anyhow::Result<()> {
    let ps = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output()?;
    let state = String::from_utf8(ps.stdout)?;
    ensure!(state.is_empty() || state.starts_with('Z'), "process {pid} still exists, in state {state}");
    Ok(())
}
