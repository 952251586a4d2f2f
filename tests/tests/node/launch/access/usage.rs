use std::ops::RangeInclusive;

use mcsa_tests::{Cluster, MetricsServer};

use super::*;

/// Millicores that a pod with a limit of 200m uses.
const BUSY: RangeInclusive<u64> = 100..=300;

/// metrics-server, which runs in both clusters, reads the usage of pods from kubelet and launcher.
pub(super) async fn usage_is_that_of_the_source(launched: &Launched) -> anyhow::Result<()> {
    let source_server = launched.source.start_metrics_server().await?;
    let home_server = MetricsServer::start(&launched.home).await?;
    let mut pod = shell("busy", "while :; do :; done");
    pod["spec"]["containers"][0]["resources"] = json!({ "limits": { "cpu": "200m", "memory": "64Mi" } });
    create(launched.home.client(), "shell", &pod).await?;
    phase(launched, "shell", "busy", "Running").await;
    eventually_within(2 * DEADLINE, "kubectl top shows what the source shows", async || {
        let (home, source) = (top(&launched.home).await?, top(&launched.source).await?);
        ensure!(
            BUSY.contains(&source.millicores) && BUSY.contains(&home.millicores),
            "{home:?}, in the source {source:?}"
        );
        ensure!(home.mebibytes.abs_diff(source.mebibytes) <= 1, "{home:?}, in the source {source:?}");
        anyhow::Ok(())
    })
    .await;
    home_server.stop().await?;
    source_server.stop().await
}

#[derive(Debug)]
struct Usage {
    millicores: u64,
    mebibytes: u64,
}

/// What kubectl prints for the container of the pod.
async fn top(cluster: &Cluster) -> anyhow::Result<Usage> {
    let output =
        cluster.kubectl(["-n", "shell", "top", "pod", "busy", "--containers", "--no-headers"]).await?;
    let columns: Vec<_> = output.split_whitespace().collect();
    let number = |column: usize, unit: &str| {
        let number = columns.get(column).and_then(|column| column.strip_suffix(unit));
        Ok::<u64, anyhow::Error>(number.with_context(|| output.clone())?.parse()?)
    };
    ensure!(columns.starts_with(&["busy", "main"]), "{output}");
    Ok(Usage { millicores: number(2, "m")?, mebibytes: number(3, "Mi")? })
}
