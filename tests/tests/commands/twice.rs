//! Every command twice in a row, the first time on a slow network: slow is not away, and the second time
//! says the same, and changes nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use mcsa_tests::{Cluster, Fault, Proxy, kubeconfig_with_server, wait_for_default_service_account};

use super::table::COMMANDS;
use super::{differences, run, state, write};

/// Each call takes more than twice as long.
const SLOW: Fault = Fault::Delay(Duration::from_millis(40));

#[tokio::test(flavor = "multi_thread")]
async fn the_second_time_changes_nothing() -> anyhow::Result<()> {
    let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    for namespace in ["team-a", "team-b"] {
        source.kubectl(["create", "namespace", namespace]).await?;
    }
    wait_for_default_service_account(&source, "team-a").await;
    let mut ways = Vec::new();
    let mut both = Vec::new();
    for cluster in [&target, &source] {
        let way = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port()))).await?;
        both.push(kubeconfig_with_server(cluster.kubeconfig_value(), &way.url()));
        ways.push(way);
    }
    let kubeconfig = write(both, &target.dir().join("kubeconfig-of-both"))?;
    for command in COMMANDS {
        let renews = command.name() == "rotate";
        ways.iter().for_each(|way| way.set(SLOW));
        let first = run(&kubeconfig, command.args()).await?.ok()?;
        ways.iter().for_each(|way| way.set(Fault::Pass));
        let once = (state(&target).await?, state(&source).await?);
        let second = run(&kubeconfig, command.args()).await?.ok()?;
        match command.name() {
            "export" => ensure!(shape(&first) == shape(&second), "export printed another kind of Secret"),
            name => ensure!(first == second, "{name} printed\n{first}and then\n{second}"),
        }
        let twice = (state(&target).await?, state(&source).await?);
        let changed = [differences(&once.0, &twice.0), differences(&once.1, &twice.1)].concat();
        ensure!(renews || changed.is_empty(), "{} changed {changed:?}", command.words);
    }
    Ok(())
}

/// The keys of a YAML document: its token is another one each time, and so is when it expires.
fn shape(yaml: &str) -> Vec<&str> {
    yaml.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key).collect()
}
