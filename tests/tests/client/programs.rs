//! Programs that use the client crate for a long time: they keep working through what happens to clusters.

mod mirror_pods;
mod reader;
mod replicas;

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use mcsa_tests::{Process, eventually, example};

/// Runs an example with this kubeconfig.
fn run(name: &str, args: &[&str], kubeconfig: &Path, folder: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(example(name)?);
    command.args(args).env("KUBECONFIG", kubeconfig);
    Process::spawn(name, &command, folder.join("log"))
}

/// Waits until the program prints a line with all of `words`, after the first `skipped` lines.
async fn prints(process: &Process, skipped: usize, words: &[&str]) {
    eventually(format!("{} prints {words:?}", process.name()), async || {
        process.check()?;
        let log = process.log();
        let is_printed = |line: &str| words.iter().all(|word| line.contains(word));
        ensure!(log.lines().skip(skipped).any(is_printed), "{}", process.log_tail(15));
        Ok(())
    })
    .await;
}

fn lines(process: &Process) -> usize {
    process.log().lines().count()
}
