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
    home.kubectl(["-n", "web", "delete", "deployment", "elected", "sent", "--wait=false"]).await?;
    no_pods(launched, "web").await;
    Ok(())
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
