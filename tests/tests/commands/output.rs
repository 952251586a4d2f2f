//! What is printed, and where.

use std::io::Read;
use std::process::Stdio;

use anyhow::{Context, ensure};
use mcsa_tests::{shared_clusters, write_merged_kubeconfig};
use serde_json::Value;

use super::table::names;
use super::{command, ended, run};

/// What begins a colour.
const ESCAPE: char = '\u{1b}';

#[tokio::test(flavor = "multi_thread")]
async fn stdout_has_what_was_asked_for_and_nothing_else() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    c2.kubectl(["create", "namespace", "team-c"]).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    write_merged_kubeconfig(&[c1, c2], &kubeconfig)?;
    let both =
        ["--target-context", "c1", "--source-context", "c2", "--target-name", "o", "--source-name", "of-o"];
    let bootstrap = ["bootstrap", "--allow", "default"].into_iter().chain(both);
    let stdout = run(&kubeconfig, bootstrap.clone()).await?.ok()?;
    ensure!(stdout.is_empty(), "bootstrap printed {stdout}");
    for command in ["allow", "deny"] {
        let stdout = run(&kubeconfig, [command, "team-c/robot"].into_iter().chain(both)).await?.ok()?;
        ensure!(stdout.is_empty(), "{command} printed {stdout}");
    }

    // A document is all that there is, from its first byte to its last.
    let ours = |value: Value| {
        let links = value.as_array().into_iter().flatten();
        links.filter(|link| link["source"] == "of-o").cloned().collect::<Vec<_>>()
    };
    let json = run(&kubeconfig, ["links", "-o", "json"]).await?.ok()?;
    let yaml = run(&kubeconfig, ["links", "-o", "yaml"]).await?.ok()?;
    let json = ours(serde_json::from_str(&json)?);
    ensure!(json.len() == 1 && json == ours(serde_saphyr::from_str(&yaml)?), "{json:?}\n{yaml}");
    let nothing = run(&kubeconfig, ["links", "--context", "c2", "-o", "json"]).await?.ok()?;
    ensure!(serde_json::from_str::<Vec<Value>>(&nothing)?.is_empty(), "{nothing}");
    let nothing = run(&kubeconfig, ["links", "--context", "c2"]).await?.ok()?;
    ensure!(nothing.is_empty(), "{nothing}");
    let export = ["export", "--context", "c2", "--namespace", "default", "default"];
    let secret: Value = serde_saphyr::from_str(&run(&kubeconfig, export).await?.ok()?)?;
    ensure!(secret["kind"] == "Secret", "{secret}");
    let documents = run(&kubeconfig, bootstrap.clone().chain(["-o", "yaml"])).await?.ok()?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&documents)?;
    ensure!(documents.iter().all(|object| object["kind"].is_string()), "{documents:?}");

    // No colours, but for those who insist.
    let links = ["links", "-o", "wide"];
    let dead = ["links", "--kubeconfig", "/nonexistent"];
    for args in [bootstrap.collect::<Vec<_>>(), links.to_vec(), dead.to_vec(), vec!["--help"]] {
        let coloured = async |environment: &[(&str, &str)]| {
            let mut command = command(&kubeconfig, args.iter().copied())?;
            command.envs(environment.iter().copied());
            let ended = ended(command).await?;
            anyhow::Ok(format!("{}{}", ended.stdout, ended.stderr).contains(ESCAPE))
        };
        ensure!(!coloured(&[]).await?, "{args:?} is coloured, where nobody sees it");
        ensure!(!coloured(&[("NO_COLOR", "1")]).await?, "{args:?} is coloured, in spite of NO_COLOR");
        if args[0] == "links" && args[1] == "-o" {
            ensure!(coloured(&[("CLICOLOR_FORCE", "1")]).await?, "{args:?} has no colours to be without");
        }
    }

    // A reader that has gone.
    for args in [&links[..], &export, &["install", "-o", "yaml"], &["completion", "bash"]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = command(&kubeconfig, args.iter().copied())?;
        let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn()?;
        let mut stderr = String::new();
        child.stderr.take().context("no stderr")?.read_to_string(&mut stderr)?;
        let status = child.wait()?;
        ensure!(status.code() == Some(1), "{args:?} ended with {status}: {stderr}");
        ensure!(stderr.contains("can't write to stdout") && !stderr.contains("panicked"), "{stderr}");
    }
    Ok(())
}

#[tokio::test]
async fn usage_is_told_to_whoever_asks_and_whoever_errs() -> anyhow::Result<()> {
    let usage = async |args: &[&str]| -> anyhow::Result<()> {
        let ended = run("/nonexistent", args.iter().copied()).await?;
        ensure!(ended.code == Some(2) && ended.stdout.is_empty(), "{args:?}: {ended:?}");
        ensure!(
            ended.stderr.contains("--help") && !ended.stderr.contains("panicked"),
            "{args:?}: {}",
            ended.stderr
        );
        Ok(())
    };
    for name in names().await? {
        if name == "help" {
            continue;
        }
        usage(&[&name, "--no-such-flag"]).await?;
        let help = run("/nonexistent", [name.as_str(), "--help"]).await?;
        let said = help.clone().ok()?;
        ensure!(said.contains("Usage: ") && help.stderr.is_empty(), "{name} --help: {help:?}");
    }
    usage(&[]).await?;
    usage(&["no-such-command"]).await?;
    usage(&["allow"]).await?;
    usage(&["export"]).await?;
    usage(&["links", "-o", "xml"]).await?;
    usage(&["install", "--namespaces", "a", "--all-namespaces"]).await?;
    usage(&["bootstrap", "--link-ttl", "1m"]).await?;
    usage(&["unlink", "--local-only"]).await?;
    let two = ["bootstrap", "--source-context", "c2", "--source-context", "c3", "--source-name", "c2"];
    usage(&two).await
}
