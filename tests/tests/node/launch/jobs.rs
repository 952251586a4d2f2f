//! Pods that run to completion, and how they end.

use super::*;

pub(super) async fn jobs_and_their_results(launched: &Launched) -> anyhow::Result<()> {
    let home = &launched.home;
    let job = |name: &str, script: &str| {
        let mut template = shell(name, script);
        template["metadata"].as_object_mut().map(|meta| meta.remove("name"));
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": name },
            "spec": { "backoffLimit": 0, "template": template },
        })
    };
    let file = home.dir().join("jobs.json");
    let jobs = [job("good", "echo done"), job("bad", "exit 3")];
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": jobs }).to_string())?;
    home.kubectl(["-n", "batch", "apply", "-f", &file.display().to_string()]).await?;
    home.kubectl(["-n", "batch", "wait", "job/good", "--for=condition=Complete", "--timeout=180s"]).await?;
    home.kubectl(["-n", "batch", "wait", "job/bad", "--for=condition=Failed", "--timeout=180s"]).await?;

    create(home.client(), "batch", &shell("exit-code", "exit 7")).await?;
    let pod = phase(launched, "batch", "exit-code", "Failed").await;
    ensure!(exit(&pod) == Some((7, "Error".into())), "{:?}", pod.status);

    let mut pod = shell("memory", "tail /dev/zero | cat");
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", "x=a; while true; do x=$x$x$x; done"]);
    pod["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "32Mi" } });
    create(home.client(), "batch", &pod).await?;
    let pod = phase(launched, "batch", "memory", "Failed").await;
    ensure!(
        exit(&pod).is_some_and(|(code, reason)| code == 137 && reason == "OOMKilled"),
        "{:?}",
        pod.status
    );

    let mut pod = shell("deadline", "sleep 600");
    pod["spec"]["activeDeadlineSeconds"] = json!(3);
    create(home.client(), "batch", &pod).await?;
    let pod = phase(launched, "batch", "deadline", "Failed").await;
    let reason = pod.status.as_ref().and_then(|status| status.reason.clone());
    ensure!(reason.as_deref() == Some("DeadlineExceeded"), "{:?}", pod.status);

    let mut pod = shell("steps", "cat /shared/file");
    let mount = json!([{ "name": "shared", "mountPath": "/shared" }]);
    pod["spec"]["volumes"] = json!([{ "name": "shared", "emptyDir": {} }]);
    pod["spec"]["containers"][0]["volumeMounts"] = mount.clone();
    let step = |name: &str, script: &str| json!({ "name": name, "image": TOOLS_IMAGE, "command": ["sh", "-c", script], "volumeMounts": mount });
    let mut sidecar = step("sidecar", "trap 'exit 0' TERM; while true; do sleep 1; done");
    sidecar["restartPolicy"] = json!("Always");
    pod["spec"]["initContainers"] = json!([step("first", "echo from init > /shared/file"), sidecar]);
    create(home.client(), "batch", &pod).await?;
    let pod = phase(launched, "batch", "steps", "Succeeded").await;
    let init = pod.status.and_then(|status| status.init_container_statuses).unwrap_or_default();
    ensure!(init.len() == 2, "{init:?}");

    let mut pod = shell("image", "true");
    pod["spec"]["containers"][0]["image"] = json!("docker.io/mcsa-tests/absent:1");
    create(home.client(), "batch", &pod).await?;
    let pods = Api::<Pod>::namespaced(home.client(), "batch");
    eventually_within(DEADLINE, "the image can't be pulled", async || {
        let pod = pods.get("image").await?;
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let waiting =
            statuses.iter().find_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
        ensure!(matches!(waiting.as_deref(), Some("ErrImagePull" | "ImagePullBackOff")), "{waiting:?}");
        anyhow::Ok(())
    })
    .await;
    // An event of the source's kubelet.
    let note = event(launched, "batch", "image", "Failed").await;
    ensure!(note.contains("mcsa-tests/absent"), "{note}");
    let described = home.kubectl(["-n", "batch", "describe", "pod", "image"]).await?;
    ensure!(described.contains("mcsa-tests/absent:1") && described.contains("c2"), "{described}");
    home.kubectl(["-n", "batch", "delete", "jobs,pods", "--all", "--wait=false"]).await?;
    no_pods(launched, "batch").await;
    Ok(())
}

/// The exit code of the only container, and its reason.
fn exit(pod: &Pod) -> Option<(i32, String)> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    Some((ended.exit_code, ended.reason.clone().unwrap_or_default()))
}
