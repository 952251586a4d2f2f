//! Wraps and runs commands.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, bail};

/// Runs `command` as the last arguments of another program.
pub(crate) fn wrapped(program: &str, args: impl IntoIterator<Item = OsString>, command: &Command) -> Command {
    let mut wrapped = Command::new(program);
    wrapped.args(args).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    wrapped
}

/// Runs a command, and returns its stdout. If it fails, the error has its stderr.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let line = format!("{command:?}");
    let output = command.output().with_context(|| format!("running {line}"))?;
    if !output.status.success() {
        bail!("{line} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
