//! The command line `argo`, unmodified. Its user only has access to the target.

use mcsa_tests::argo;

use super::lifecycle::node;
use super::*;

/// A shell script that runs until it is terminated, and fails.
const ENDLESS: &str = "trap 'exit 4' TERM; while sleep 1; do :; done";

/// All workflows run at the same time.
pub(super) async fn the_cli_works(launched: &Launched) -> anyhow::Result<()> {
    tokio::try_join!(
        a_workflow_is_submitted_and_submitted_again(launched),
        a_workflow_can_be_terminated(launched),
        a_stopped_workflow_runs_its_exit_handler(launched),
        only_the_failed_step_is_tried_again(launched),
    )
    .map(drop)
}

async fn a_workflow_is_submitted_and_submitted_again(launched: &Launched) -> anyhow::Result<()> {
    let file = launched.home.dir().join("submitted.json");
    let main = script("main", "echo text of a step");
    std::fs::write(&file, workflow("submitted", &[], &[main]).to_string())?;
    // With `--wait`, argo fails if the workflow does.
    let printed = run(launched, &["submit", "--wait", &file.display().to_string()]).await?;
    ensure!(printed.contains("submitted Succeeded"), "{printed}");
    let logs = run(launched, &["logs", "submitted"]).await?;
    ensure!(logs.contains("submitted: text of a step"), "{logs}");
    shows(launched, "submitted", "Succeeded").await?;
    let again = run(launched, &["resubmit", "--wait", "--output", "name", "submitted"]).await?;
    ensure!(again.starts_with("submitted-"), "{again}");
    shows(launched, again.trim(), "Succeeded").await
}

/// Argo ends a step by `argoexec kill` in its pod.
async fn a_workflow_can_be_terminated(launched: &Launched) -> anyhow::Result<()> {
    let name = submit(launched, "endless", &[script("main", ENDLESS)]).await?;
    phase(launched, NAMESPACE, &name, "Running").await;
    let printed = run(launched, &["terminate", &name]).await?;
    ensure!(printed.contains("workflow endless terminated"), "{printed}");
    ended(launched, &name, "Failed").await?;
    phase(launched, NAMESPACE, &name, "Failed").await;
    shows(launched, &name, "Failed (Terminated)").await
}

async fn a_stopped_workflow_runs_its_exit_handler(launched: &Launched) -> anyhow::Result<()> {
    let fields = [("onExit", json!("handler"))];
    let templates = [script("main", ENDLESS), script("handler", "echo 1")];
    let name = submit_with(launched, "stopped", &fields, &templates).await?;
    phase(launched, NAMESPACE, &name, "Running").await;
    let printed = run(launched, &["stop", &name]).await?;
    ensure!(printed.contains("workflow stopped stopped"), "{printed}");
    let status = ended(launched, &name, "Failed").await?;
    ensure!(node(&status, "stopped.onExit")?["phase"] == "Succeeded", "{status}");
    phase(launched, NAMESPACE, &name, "Failed").await;
    Ok(())
}

/// argo deletes the home pod of the failed step, and Argo creates another of the same name.
async fn only_the_failed_step_is_tried_again(launched: &Launched) -> anyhow::Result<()> {
    let steps =
        json!([[{ "name": "first", "template": "first" }], [{ "name": "second", "template": "second" }]]);
    let main = json!({ "name": "main", "steps": steps });
    let second = script("second", "[ {{workflow.parameters.fail}} = no ]");
    let fields = [("arguments", json!({ "parameters": [{ "name": "fail", "value": "yes" }] }))];
    let templates = [main, script("first", "echo 1"), second];
    let name = submit_with(launched, "mended", &fields, &templates).await?;
    let before = ended(launched, &name, "Failed").await?;
    run(launched, &["retry", &name, "--parameter", "fail=no"]).await?;
    let after = ended(launched, &name, "Succeeded").await?;
    let end = |status, step| anyhow::Ok(node(status, step)?["finishedAt"].clone());
    ensure!(end(&before, "mended[0].first")? == end(&after, "mended[0].first")?, "{after}");
    let (failed, succeeded) = (node(&before, "mended[1].second")?, node(&after, "mended[1].second")?);
    ensure!(failed["id"] == succeeded["id"], "{after}");
    shows(launched, &name, "Succeeded").await
}

/// Fails unless `argo get` shows this status of a workflow.
async fn shows(launched: &Launched, name: &str, status: &str) -> anyhow::Result<()> {
    let shown = run(launched, &["get", name]).await?;
    let found = shown.lines().find_map(|line| line.strip_prefix("Status:"));
    ensure!(found.map(str::trim) == Some(status), "{shown}");
    Ok(())
}

async fn run(launched: &Launched, args: &[&str]) -> anyhow::Result<String> {
    argo(&launched.home, NAMESPACE, args).await
}
