//! Every command works on a slow network, and a second run prints the same and changes nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use mcsa_tests::{Cluster, Fault, Proxy, kubeconfig_with_server, wait_for_default_service_account};

use super::table::COMMANDS;
use super::{differences, run, state, write};

/// Makes each call take more than twice as long.
const SLOW: Fault = Fault::Delay(Duration::from_millis(40));

#[tokio::test(flavor = "multi_thread")]
async fn second_run_of_each_command_changes_nothing() -> anyhow::Result<()> {
    let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    for namespace in ["team-a", "team-b"] {
        source.kubectl(["create", "namespace", namespace]).await?;
    }
    wait_for_default_service_account(&source, "team-a").await;
    let mut proxies = Vec::new();
    let mut both = Vec::new();
    for cluster in [&target, &source] {
        let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port()))).await?;
        both.push(kubeconfig_with_server(cluster.kubeconfig_value(), &proxy.url()));
        proxies.push(proxy);
    }
    let kubeconfig = write(both, &target.dir().join("kubeconfig-of-both"))?;
    for command in COMMANDS {
        let is_rotation = command.name() == "rotate";
        proxies.iter().for_each(|proxy| proxy.set(SLOW));
        let first = run(&kubeconfig, command.args()).await?.stdout()?;
        proxies.iter().for_each(|proxy| proxy.set(Fault::Pass));
        let once = (state(&target).await?, state(&source).await?);
        let second = run(&kubeconfig, command.args()).await?.stdout()?;
        match command.name() {
            "export" => ensure!(shape(&first) == shape(&second), "export printed a Secret with other keys"),
            name => ensure!(first == second, "{name} printed\n{first}and then\n{second}"),
        }
        let twice = (state(&target).await?, state(&source).await?);
        let changed = [differences(&once.0, &twice.0), differences(&once.1, &twice.1)].concat();
        ensure!(is_rotation || changed.is_empty(), "{} changed {changed:?}", command.words);
    }
    Ok(())
}

/// The keys of a YAML document. Each export has another token and expiry.
fn shape(yaml: &str) -> Vec<&str> {
    yaml.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key).collect()
}
