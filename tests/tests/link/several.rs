//! `bootstrap` with several sources, and several runs of `bootstrap` at the same time.

use std::process::{Command, Stdio};

use anyhow::ensure;
use kube::config::Kubeconfig;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Cluster, Imports, client, eventually, kubemcsa, program};

use super::{BOTH, Fixture};

#[tokio::test(flavor = "multi_thread")]
async fn failing_source_does_not_stop_the_others() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let third = Cluster::start("c3").await?;
    let mut all = Kubeconfig::read_from(&fixture.kubeconfig)?.merge(third.kubeconfig_value())?;
    // A source that does not respond; `nowhere` is a context that does not exist.
    let mut dead = third.kubeconfig_value();
    dead =
        serde_json::from_str(&serde_json::to_string(&dead)?.replace(&third.server(), "https://127.0.0.1:1"))?;
    dead = serde_json::from_str(&serde_json::to_string(&dead)?.replace("\"c3\"", "\"dead\""))?;
    all = all.merge(dead)?;
    let kubeconfig = fixture.target.dir().join("kubeconfig-of-all");
    std::fs::write(&kubeconfig, serde_json::to_string(&all)?)?;

    let sources = ["c2", "dead", "nowhere", "c3"].map(|context| ["--source-context", context]).concat();
    let bootstrap = || {
        let args =
            ["bootstrap", "--target-context", "c1", "--allow", "default"].into_iter().chain(sources.clone());
        kubemcsa(&kubeconfig, args)
    };
    for _ in 0..2 {
        let output = bootstrap()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}: {stderr}", output.status);
        for (context, expected) in
            [("c2", "linked to c1"), ("c3", "linked to c1"), ("dead", "failed"), ("nowhere", "failed")]
        {
            let lines: Vec<_> =
                stderr.lines().filter(|line| line.starts_with(&format!("{context}  "))).collect();
            ensure!(lines.len() == 1 && lines[0].contains(expected), "of {context}: {lines:?}\n{stderr}");
        }
        let last = stderr.lines().last().unwrap_or_default();
        ensure!(last.contains("linked 2 of 4 sources; failed: dead, nowhere"), "{last}");
    }
    let links = Imports::of(fixture.target.client(), SYSTEM_NAMESPACE);
    for source in ["c2", "c3"] {
        let values = links.values(&format!("{source}-token")).await?;
        let link = client(Kubeconfig::from_yaml(&values["kubeconfig"])?)?;
        link.apiserver_version().await?;
    }

    // Two sources need two names.
    let args = ["bootstrap", "--source-context", "c2", "--source-context", "c3", "--source-name", "x"];
    ensure!(kubemcsa(&kubeconfig, args)?.status.code() == Some(2));
    fixture.release().await
}

/// Two concurrent runs with different grants: if everything is granted in the end, one of them must fail.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_with_different_grants_do_not_both_succeed() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    let everything = "clusterrolebinding.rbac.authorization.k8s.io/multicluster-service-account-link-c1";
    for _ in 0..3 {
        let start = |allow: &[&str]| {
            let mut command = Command::new(program("kubemcsa")?);
            command.env("KUBECONFIG", &fixture.kubeconfig).arg("bootstrap").args(BOTH).args(allow);
            anyhow::Ok(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?)
        };
        let (bare, narrow) = (start(&[])?, start(&["--allow", "team-a"])?);
        let ended = [bare.wait_with_output()?, narrow.wait_with_output()?];
        let is_wide = fixture.traces().await?.contains(everything);
        let stderr = ended.each_ref().map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        let are_done = ended.each_ref().map(|output| output.status.success());
        ensure!(!(is_wide && are_done == [true, true]), "{}\nand\n{}", stderr[0], stderr[1]);
        fixture.run(&["bootstrap", "--allow", "team-a"])?;
        fixture.forget()?;
    }

    // Grants that don't contradict each other are all made.
    fixture.run(&["bootstrap", "--allow", "team-a"])?;
    let start = |grant: &str| {
        let mut command = Command::new(program("kubemcsa")?);
        command.env("KUBECONFIG", &fixture.kubeconfig).args(["allow", grant]).args(BOTH);
        anyhow::Ok(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?)
    };
    for allowed in [start("default/one")?, start("default/two")?, start("team-b")?] {
        let output = allowed.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let role = ["get", "role", "multicluster-service-account-link-c1", "-o", "json", "-n"];
    let roles = [
        fixture.source.kubectl([&role[..], &["default"]].concat()).await?,
        fixture.source.kubectl([&role[..], &["team-b"]].concat()).await?,
    ];
    ensure!(roles[0].contains("\"one\"") && roles[0].contains("\"two\""), "{}", roles[0]);
    ensure!(roles[1].contains("serviceaccounts/token"), "{}", roles[1]);
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_runs_create_one_link() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let daemons = fixture.daemons().await?;
    for round in 0..3 {
        let start = || {
            let mut command = Command::new(program("kubemcsa")?);
            command.env("KUBECONFIG", &fixture.kubeconfig).arg("bootstrap").args(BOTH);
            anyhow::Ok(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?)
        };
        let both = [start()?, start()?];
        for one in both {
            let output = one.wait_with_output()?;
            ensure!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        }
        eventually("the importer has the link", async || {
            fixture.links().condition("c2", "Refreshed", "True", None).await
        })
        .await;
        fixture.stolen().await?.apiserver_version().await?;
        if round == 1 {
            // The last round starts without a link on either side.
            fixture.run(&["unlink"])?;
        }
    }
    drop(daemons);
    fixture.release().await
}
