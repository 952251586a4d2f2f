//! Output: messages go to stderr, each line with the name of its cluster; results go to stdout.
//!
//! If stderr can't be written, the command continues (`eprintln!` would panic). If stdout can't be written, it fails,
//! because a partial result is wrong.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;

use crate::cli::program;
use crate::cluster::apply::Outcome;

/// Format of printed objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// YAML documents.
    Yaml,
}

const CLUSTER: Style = AnsiColor::Cyan.on_default().bold();
const FAILED: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Prints a line about a cluster.
pub(crate) fn info(cluster: &str, text: &str) {
    let text = program::rename_commands(text);
    drop(writeln!(anstream::stderr(), "{CLUSTER}{cluster}{CLUSTER:#}  {text}"));
}

/// Prints a warning about a cluster.
pub(crate) fn warn(cluster: &str, text: &str) {
    info(cluster, &format!("{WARNING}warning:{WARNING:#} {text}"));
}

/// Prints a failure that doesn't stop the command.
pub(crate) fn failed(cluster: &str, text: &str) {
    info(cluster, &format!("{FAILED}failed:{FAILED:#} {text}"));
}

/// Prints an error as a warning. The error begins with the name of its cluster.
pub(crate) fn warn_of(error: &impl Display) {
    let message = error.to_string();
    let (cluster, text) = message.split_once(": ").unwrap_or(("", &message));
    warn(cluster, text);
}

/// Prints what was done to an object, which `reference` names as kubectl does.
pub(crate) fn outcome(cluster: &str, reference: &str, outcome: Outcome) {
    info(cluster, &format!("{reference} {}", styled_outcome(outcome)));
}

/// Prints what a dry run would do to an object.
pub(crate) fn dry_run(cluster: &str, reference: &str, outcome: Outcome) {
    info(cluster, &format!("{reference} {} (dry run)", styled_outcome(outcome)));
}

fn styled_outcome(outcome: Outcome) -> String {
    let style = match outcome {
        Outcome::Created => AnsiColor::Green.on_default(),
        Outcome::Configured | Outcome::Deleted => AnsiColor::Yellow.on_default(),
        Outcome::Unchanged => Style::new().dimmed(),
    };
    format!("{style}{}{style:#}", outcome.word())
}

/// Prints lines to paste, without the name of a cluster.
pub(crate) fn paste(text: &str) {
    drop(writeln!(anstream::stderr(), "\n{}", program::rename_commands(text)));
}

/// Prints a JSON document.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    text(&format!("{}\n", serde_json::to_string_pretty(value).context("can't write JSON")?))
}

/// Prints a YAML document.
pub(crate) fn yaml(value: &impl Serialize) -> anyhow::Result<()> {
    text(&serde_saphyr::to_string(value).context("can't write YAML")?)
}

/// Prints one of several YAML documents, after a comment.
pub(crate) fn document(comment: &str, value: &impl Serialize) -> anyhow::Result<()> {
    text(&format!("---\n# {comment}\n"))?;
    yaml(value)
}

/// Prints text to stdout. If the reader has exited (`| head`), this is an error, not a panic.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    write(io::stdout().lock(), text)
}

/// Prints text to stdout, with colors if it is a terminal.
pub(crate) fn styled(text: &str) -> anyhow::Result<()> {
    write(anstream::stdout().lock(), text)
}

fn write(mut stdout: impl Write, text: &str) -> anyhow::Result<()> {
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("can't write to stdout")
}
