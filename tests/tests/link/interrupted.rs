//! A command is interrupted at any step: the link still works, and another run finishes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use mcsa_client::contract::{SYSTEM_NAMESPACE, key};
use mcsa_tests::{eventually, pod_lister_import, program};

use super::{BOTH, Fixture};

/// Runs a command about the link, and sends it a signal once it has printed `lines` lines. Returns whether the signal
/// ended it.
fn interrupt(fixture: &Fixture, command: &[&str], lines: usize, signal: &str) -> anyhow::Result<bool> {
    // The shell starts first: on a busy machine, the command may finish before a shell has started.
    let kill = format!("read pid; kill -s {signal} $pid");
    let mut killer = Command::new("sh").args(["-c", &kill]).stdin(Stdio::piped()).spawn()?;
    let mut child = Command::new(program("kubemcsa")?);
    child.env("KUBECONFIG", &fixture.kubeconfig).args(command).args(BOTH);
    let mut child = child.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let printed = BufReader::new(stderr).lines().take(lines).count();
    writeln!(killer.stdin.take().context("stdin is piped")?, "{}", child.id())?;
    killer.wait()?;
    let status = child.wait()?;
    Ok(printed == lines && !status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_rotation_does_not_affect_imports() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let imports = fixture.accounts().await?;
    fixture.run(&["bootstrap"])?;
    let daemons = fixture.daemons().await?;
    eventually("the importer has the link", async || fixture.links().ready("c2").await).await;
    let mut steps = 0;
    for signal in ["INT", "KILL"] {
        let mut lines = 0;
        while interrupt(&fixture, &["rotate"], lines, signal)? {
            let name = format!("import-{}-{lines}", signal.to_lowercase());
            imports.create(&pod_lister_import(&name, "c2", "team-a")).await?;
            eventually(format!("{name} is ready, after {signal} at line {lines}"), async || {
                imports.ready(&name).await
            })
            .await;
            // Bootstrap finishes a rotation, too.
            if lines % 2 == 0 {
                fixture.run(&["bootstrap"])?;
            }
            lines += 1;
        }
        steps += lines;
    }
    ensure!(steps > 10, "only {steps} lines to be interrupted after");
    let before = fixture.links().values("c2-token").await?;
    fixture.run(&["rotate"])?;
    ensure!(
        fixture.links().values("c2-token").await?[key::TOKEN] != before[key::TOKEN],
        "the token is the old one"
    );
    let left = fixture.source.kubectl(["-n", SYSTEM_NAMESPACE, "get", "secrets", "-o", "name"]).await?;
    ensure!(left.trim() == "secret/c1", "left: {left}");
    drop(daemons);
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_bootstrap_with_allow_widens_nothing() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    let everything = "clusterrolebinding.rbac.authorization.k8s.io/multicluster-service-account-link-c1";
    let mut lines = 0;
    while interrupt(&fixture, &["bootstrap", "--allow", "team-a"], lines, "KILL")? {
        let has_identity = fixture.traces().await?.contains("serviceaccount/c1");
        fixture.run(&["bootstrap"])?;
        let is_wide = fixture.traces().await?.contains(everything);
        ensure!(
            !(has_identity && is_wide),
            "killed after {lines} lines, and widened by another run without --allow"
        );
        fixture.forget()?;
        lines += 1;
    }
    ensure!(lines > 0, "it was never interrupted");
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_reports_an_interrupted_rotation() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.run(&["bootstrap"])?;
    // No importer runs that would continue the rotation.
    let is_interim = || anyhow::Ok(fixture.table()?.contains("RotationUnfinished"));
    let mut lines = 0;
    while interrupt(&fixture, &["rotate"], lines, "KILL")? && !is_interim()? {
        lines += 1;
    }
    ensure!(is_interim()?, "{}", fixture.table()?);
    fixture.run(&["rotate"])?;
    ensure!(!is_interim()?, "{}", fixture.table()?);
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_bootstrap_and_unlink_are_finished_by_another_run() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    for command in [&["bootstrap", "--allow", "team-a"][..], &["unlink"]] {
        let mut lines = 0;
        while interrupt(&fixture, command, lines, "INT")? {
            lines += 1;
        }
        ensure!(lines > 3, "only {lines} lines to be interrupted after");
        fixture.run(command)?;
        match command[0] {
            "bootstrap" => drop(fixture.stolen().await?.apiserver_version().await?),
            _ => ensure!(fixture.traces().await?.is_empty(), "left: {:?}", fixture.traces().await?),
        }
    }
    fixture.release().await
}
