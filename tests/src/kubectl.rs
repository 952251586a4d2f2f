//! kubectl, in the version of the clusters.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::binaries::binaries;

/// Runs kubectl with `KUBECONFIG` set to `kubeconfig` (a path, or several joined by `:`), and returns its stdout. If it
/// fails, the error has its stderr.
pub async fn kubectl<A: AsRef<OsStr>>(
    kubeconfig: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> anyhow::Result<String> {
    let mut command = Command::new(&binaries().await?.kubectl);
    stdout(command.args(args).env("KUBECONFIG", kubeconfig), "kubectl").await
}

/// Runs a program, and returns its stdout. If it fails, the error has `name` and its stderr.
pub(crate) async fn stdout(command: &mut Command, name: &str) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let args = command.as_std().get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let output = command.output().await.with_context(|| format!("running {name} {args}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{name} {args} ended with {}: {}", output.status, stderr.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {name} {args} is not UTF-8"))
}
