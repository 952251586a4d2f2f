//! `Process` runs, signals and kills programs; `eventually` reports what it waited for.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use mcsa_tests::{Process, eventually, eventually_within, try_eventually};
use tempfile::TempDir;

/// Starts a shell script, and waits until it prints `up`.
async fn script(folder: &TempDir, text: &str) -> anyhow::Result<Process> {
    let mut command = Command::new("sh");
    command.args(["-c", text]).env("WORD", "hello").current_dir(folder.path());
    let process = Process::spawn("script", &command, folder.path().join("script.log"))?;
    eventually("the script is up", async || {
        ensure!(process.log().contains("up"), "the log is {:?}", process.log());
        Ok(())
    })
    .await;
    Ok(process)
}

#[tokio::test]
async fn sigterm_reaches_the_program_itself() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let text = "trap 'echo bye; exit 7' TERM; echo $$ $WORD $(pwd) up; while :; do sleep 0.02; done";
    let process = script(&folder, text).await?;
    let log = process.log();
    let words: Vec<_> = log.split_whitespace().collect();
    assert_eq!(words[..2], [process.id().to_string().as_str(), "hello"]);
    assert!(words[2].ends_with(folder.path().file_name().and_then(|name| name.to_str()).unwrap()));
    assert!(process.is_running());
    assert_eq!(process.terminate().await?.code(), Some(7));
    assert!(!process.is_running());
    assert!(process.log().ends_with("bye\n"));
    Ok(())
}

#[tokio::test]
async fn error_of_an_ended_program_has_its_status_and_log() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let process = script(&folder, "echo up; echo no disk >&2; exit 3").await?;
    assert_eq!(process.wait(Duration::from_secs(10)).await?.code(), Some(3));
    let error = process.check().unwrap_err().to_string();
    for part in ["script ended", "exit status: 3", "script.log", "no disk"] {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    assert!(process.terminate().await.is_err());
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn program_can_be_suspended_resumed_and_killed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let process = script(&folder, "echo up; while :; do sleep 0.02; done").await?;
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", process.id()));
    assert!(process.rss_kib().is_some_and(|kib| kib > 0));
    process.suspend()?;
    eventually("the program is suspended", async || {
        let state = state()?;
        ensure!(state.contains(") T "), "{state}");
        Ok(())
    })
    .await;
    process.resume()?;
    eventually("the program runs again", async || {
        let state = state()?;
        ensure!(!state.contains(") T "), "{state}");
        Ok(())
    })
    .await;
    process.suspend()?;
    process.kill();
    assert!(!process.is_running());
    assert_eq!(process.rss_kib(), None);
    Ok(())
}

#[tokio::test]
async fn timeout_reports_the_last_error() {
    let mut tries = 0;
    let error = try_eventually(Duration::from_millis(300), "the third try", async || {
        tries += 1;
        Err::<(), _>(format!("try {tries}"))
    })
    .await
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with("timed out after ") && error.contains(": the third try; last observed: try "),
        "{error}"
    );
    assert!(tries > 2, "{tries}");
}

#[tokio::test]
async fn eventually_returns_the_value() {
    let mut tries = 0;
    let value = eventually("the third try", async || {
        tries += 1;
        if tries == 3 { Ok(tries) } else { Err(format!("try {tries}")) }
    })
    .await;
    assert_eq!(value, 3);
}

#[tokio::test]
#[should_panic(expected = ": an answer; the last probe did not return")]
async fn hanging_probe_is_abandoned_at_the_deadline() {
    eventually_within(Duration::from_millis(50), "an answer", async || {
        std::future::pending::<Result<(), String>>().await
    })
    .await;
}
