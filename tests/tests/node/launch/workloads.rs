//! Deployments whose pods run in the source.

use super::*;

pub(super) async fn deployments_behave_as_on_a_node(launched: &Launched) -> anyhow::Result<()> {
    let (home, source) = (&launched.home, &launched.source);
    let file = home.dir().join("deployments.json");
    let deployments = [deployment("elected", "elect", ""), deployment("sent", "clustername", "c2")];
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": deployments }).to_string())?;
    home.kubectl(["-n", "web", "apply", "-f", &file.display().to_string()]).await?;
    rolled_out(launched, "elected").await?;
    rolled_out(launched, "sent").await?;
    ensure!(pods(source.client(), "web").await?.len() == 5);
    let wide = home.kubectl(["-n", "web", "get", "pods", "-o", "wide", "--no-headers"]).await?;
    ensure!(wide.lines().all(|line| line.contains(" c2 ") && line.contains("1/1")), "{wide}");
    // The address is that of the remote pod.
    let ips = ["-n", "web", "get", "pods", "-o", "jsonpath={.items[*].status.podIP}"];
    ensure!(home.kubectl(ips).await? == source.kubectl(ips).await?);

    home.kubectl(["-n", "web", "set", "env", "deployment/elected", "VERSION=2"]).await?;
    rolled_out(launched, "elected").await?;
    home.kubectl(["-n", "web", "scale", "deployment/elected", "--replicas=1"]).await?;
    eventually_within(DEADLINE, "the source has as many pods as home", async || {
        let (here, there) = (pods(home.client(), "web").await?, pods(source.client(), "web").await?);
        ensure!(here == there && here.len() == 3, "home: {here:?}, source: {there:?}");
        anyhow::Ok(())
    })
    .await;
    readiness_gates_open_at_home(launched).await?;
    daemon_sets_stay_off_the_virtual_node(launched).await?;
    home.kubectl(["-n", "web", "delete", "deployments,pods", "--all", "--wait=false"]).await?;
    no_pods(launched, "web").await;
    Ok(())
}

/// The controller of a readiness gate knows the home pod only.
async fn readiness_gates_open_at_home(launched: &Launched) -> anyhow::Result<()> {
    let mut pod = shell("gated", "sleep 600");
    pod["spec"]["readinessGates"] = json!([{ "conditionType": "example.com/open" }]);
    create(launched.home.client(), "web", &pod).await?;
    let reason = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}=ReadinessGatesNotReady";
    launched.home.kubectl(["-n", "web", "wait", "pod/gated", "--for", reason, "--timeout=180s"]).await?;
    let open = json!({ "status": { "conditions": [{ "type": "example.com/open", "status": "True" }] } });
    let patch = ["-n", "web", "patch", "pod", "gated", "--subresource=status", "-p", &open.to_string()];
    launched.home.kubectl(patch).await?;
    let wait = ["-n", "web", "wait", "pod/gated", "--for=condition=Ready", "--timeout=180s"];
    launched.home.kubectl(wait).await.map(drop)
}

async fn daemon_sets_stay_off_the_virtual_node(launched: &Launched) -> anyhow::Result<()> {
    let mut daemon_set = deployment("daemons", "elect", "");
    daemon_set["kind"] = json!("DaemonSet");
    daemon_set["spec"].as_object_mut().map(|spec| spec.remove("replicas"));
    let file = launched.home.dir().join("daemons.json");
    std::fs::write(&file, daemon_set.to_string())?;
    launched.home.kubectl(["-n", "web", "apply", "-f", &file.display().to_string()]).await?;
    eventually_within(DEADLINE, "the controller has seen the DaemonSet", async || {
        let get = ["-n", "web", "get", "daemonset", "daemons", "-o", "json"];
        let found: Value = serde_json::from_str(&launched.home.kubectl(get).await?)?;
        let status = &found["status"];
        ensure!(status["observedGeneration"] == 1 && status["desiredNumberScheduled"] == 0, "{status}");
        anyhow::Ok(())
    })
    .await;
    launched.home.kubectl(["-n", "web", "delete", "daemonset", "daemons"]).await.map(drop)
}

async fn rolled_out(launched: &Launched, name: &str) -> anyhow::Result<()> {
    let args = ["-n", "web", "rollout", "status", "deployment", name, "--timeout=180s"];
    launched.home.kubectl(args).await.map(drop)
}

fn deployment(name: &str, annotation: &str, value: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": if name == "elected" { 3 } else { 2 },
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": {
                    "labels": { "app": name },
                    "annotations": { format!("multicluster.admiralty.io/{annotation}"): value },
                },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "main",
                        "image": TOOLS_IMAGE,
                        "command": ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1; done"],
                    }],
                },
            },
        },
    })
}
