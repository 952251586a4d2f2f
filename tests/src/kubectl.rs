//! kubectl of the version that the clusters have.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::binaries::binaries;

/// Runs kubectl with `KUBECONFIG` set to `kubeconfig` (a path, or several joined by `:`), and gives
/// its stdout; an error when it fails, with its stderr.
pub async fn kubectl<A: AsRef<OsStr>>(
    kubeconfig: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> anyhow::Result<String> {
    let mut command = Command::new(&binaries().await?.kubectl);
    stdout(command.args(args).env("KUBECONFIG", kubeconfig), "kubectl").await
}

/// Runs a program that people call `name`, and gives its stdout; an error when it fails, with its stderr.
pub(crate) async fn stdout(command: &mut Command, name: &str) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let shown = command.as_std().get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let output = command.output().await.with_context(|| format!("running {name} {shown}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{name} {shown} ended with {}: {}", output.status, stderr.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {name} {shown} is not UTF-8"))
}
