//! What commands print to stdout and stderr, and when they use colors.

use std::io::Read;
use std::process::Stdio;

use anyhow::{Context, ensure};
use mcsa_tests::{shared_clusters, write_merged_kubeconfig};
use serde_json::Value;

use super::table::names;
use super::{command, complete, run};

/// The start of an ANSI color code.
const ESCAPE: char = '\u{1b}';

#[tokio::test(flavor = "multi_thread")]
async fn stdout_has_only_the_requested_document() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    c2.kubectl(["create", "namespace", "team-c"]).await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    write_merged_kubeconfig(&[c1, c2], &kubeconfig)?;
    let both =
        ["--target-context", "c1", "--source-context", "c2", "--target-name", "o", "--source-name", "of-o"];
    let bootstrap = ["bootstrap", "--allow", "default"].into_iter().chain(both);
    let stdout = run(&kubeconfig, bootstrap.clone()).await?.stdout()?;
    ensure!(stdout.is_empty(), "bootstrap printed {stdout}");
    for command in ["allow", "deny"] {
        let stdout = run(&kubeconfig, [command, "team-c/robot"].into_iter().chain(both)).await?.stdout()?;
        ensure!(stdout.is_empty(), "{command} printed {stdout}");
    }

    // Stdout is one valid document.
    let ours = |value: Value| {
        let links = value.as_array().into_iter().flatten();
        links.filter(|link| link["source"] == "of-o").cloned().collect::<Vec<_>>()
    };
    let json = run(&kubeconfig, ["links", "-o", "json"]).await?.stdout()?;
    let yaml = run(&kubeconfig, ["links", "-o", "yaml"]).await?.stdout()?;
    let json = ours(serde_json::from_str(&json)?);
    ensure!(json.len() == 1 && json == ours(serde_saphyr::from_str(&yaml)?), "{json:?}\n{yaml}");
    let nothing = run(&kubeconfig, ["links", "--context", "c2", "-o", "json"]).await?.stdout()?;
    ensure!(serde_json::from_str::<Vec<Value>>(&nothing)?.is_empty(), "{nothing}");
    let nothing = run(&kubeconfig, ["links", "--context", "c2"]).await?.stdout()?;
    ensure!(nothing.is_empty(), "{nothing}");
    let export = ["export", "--context", "c2", "--namespace", "default", "default"];
    let secret: Value = serde_saphyr::from_str(&run(&kubeconfig, export).await?.stdout()?)?;
    ensure!(secret["kind"] == "Secret", "{secret}");
    let documents = run(&kubeconfig, bootstrap.clone().chain(["-o", "yaml"])).await?.stdout()?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&documents)?;
    ensure!(documents.iter().all(|object| object["kind"].is_string()), "{documents:?}");

    // No colors, except with CLICOLOR_FORCE.
    let links = ["links", "-o", "wide"];
    let dead = ["links", "--kubeconfig", "/nonexistent"];
    for args in [bootstrap.collect::<Vec<_>>(), links.to_vec(), dead.to_vec(), vec!["--help"]] {
        let has_colors = async |environment: &[(&str, &str)]| {
            let mut command = command(&kubeconfig, args.iter().copied())?;
            command.envs(environment.iter().copied());
            let completed = complete(command).await?;
            anyhow::Ok(format!("{}{}", completed.stdout, completed.stderr).contains(ESCAPE))
        };
        ensure!(!has_colors(&[]).await?, "{args:?} prints colors to a pipe");
        ensure!(!has_colors(&[("NO_COLOR", "1")]).await?, "{args:?} prints colors with NO_COLOR");
        if args[0] == "links" && args[1] == "-o" {
            ensure!(
                has_colors(&[("CLICOLOR_FORCE", "1")]).await?,
                "{args:?} prints no colors with CLICOLOR_FORCE"
            );
        }
    }

    // The reader of stdout has closed the pipe.
    for args in [&links[..], &export, &["install", "-o", "yaml"], &["completion", "bash"]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = command(&kubeconfig, args.iter().copied())?;
        let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn()?;
        let mut stderr = String::new();
        child.stderr.take().context("stderr is not piped")?.read_to_string(&mut stderr)?;
        let status = child.wait()?;
        ensure!(status.code() == Some(1), "{args:?} completed with {status}: {stderr}");
        ensure!(stderr.contains("can't write to stdout") && !stderr.contains("panicked"), "{stderr}");
    }
    Ok(())
}

#[tokio::test]
async fn usage_errors_exit_with_2_and_mention_help() -> anyhow::Result<()> {
    let fails = async |args: &[&str]| -> anyhow::Result<()> {
        let completed = run("/nonexistent", args.iter().copied()).await?;
        ensure!(completed.code == Some(2) && completed.stdout.is_empty(), "{args:?}: {completed:?}");
        ensure!(
            completed.stderr.contains("--help") && !completed.stderr.contains("panicked"),
            "{args:?}: {}",
            completed.stderr
        );
        Ok(())
    };
    for name in names().await? {
        if name == "help" {
            continue;
        }
        fails(&[&name, "--no-such-flag"]).await?;
        let help = run("/nonexistent", [name.as_str(), "--help"]).await?;
        let stdout = help.clone().stdout()?;
        ensure!(stdout.contains("Usage: ") && help.stderr.is_empty(), "{name} --help: {help:?}");
    }
    fails(&[]).await?;
    fails(&["no-such-command"]).await?;
    fails(&["allow"]).await?;
    fails(&["export"]).await?;
    fails(&["links", "-o", "xml"]).await?;
    fails(&["install", "--namespaces", "a", "--all-namespaces"]).await?;
    fails(&["bootstrap", "--link-ttl", "1m"]).await?;
    fails(&["unlink", "--local-only"]).await?;
    let two = ["bootstrap", "--source-context", "c2", "--source-context", "c3", "--source-name", "c2"];
    fails(&two).await
}
