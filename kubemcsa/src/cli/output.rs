//! What people read goes to stderr, each line marked with its cluster; what programs read goes to
//! stdout.
//!
//! Nothing ends half done because stderr can't be written to: what can't be said there is not said
//! (`eprintln!` would panic). Whoever asked for stdout, however, must not take a part for the whole.

use std::fmt::Display;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;

use crate::cli::program;
use crate::cluster::apply::Outcome;

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// YAML documents.
    Yaml,
}

const CLUSTER: Style = AnsiColor::Cyan.on_default().bold();
const FAILED: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// A line about a cluster.
pub fn say(cluster: &str, text: &str) {
    let text = program::as_called(text);
    drop(writeln!(anstream::stderr(), "{CLUSTER}{cluster}{CLUSTER:#}  {text}"));
}

/// A line about something in a cluster that is not as it should be.
pub fn warn(cluster: &str, text: &str) {
    say(cluster, &format!("{WARNING}warning:{WARNING:#} {text}"));
}

/// A line about what could not be done, where something else goes on.
pub fn failed(cluster: &str, text: &str) {
    say(cluster, &format!("{FAILED}failed:{FAILED:#} {text}"));
}

/// The same of an error, which begins with its cluster's name.
pub fn warn_of(error: &impl Display) {
    let said = error.to_string();
    let (cluster, text) = said.split_once(": ").unwrap_or(("", &said));
    warn(cluster, text);
}

/// Prints what was done to an object, which `reference` names as kubectl does.
pub fn outcome(cluster: &str, reference: &str, outcome: Outcome) {
    say(cluster, &format!("{reference} {}", styled_outcome(outcome)));
}

/// Prints what a dry run would do to an object.
pub fn dry_run(cluster: &str, reference: &str, outcome: Outcome) {
    say(cluster, &format!("{reference} {} (dry run)", styled_outcome(outcome)));
}

fn styled_outcome(outcome: Outcome) -> String {
    let style = match outcome {
        Outcome::Created => AnsiColor::Green.on_default(),
        Outcome::Configured | Outcome::Deleted => AnsiColor::Yellow.on_default(),
        Outcome::Unchanged => Style::new().dimmed(),
    };
    format!("{style}{}{style:#}", outcome.word())
}

/// Lines for pasting, without a mark.
pub fn paste(text: &str) {
    drop(writeln!(anstream::stderr(), "\n{}", program::as_called(text)));
}

/// One JSON document on stdout.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    text(&format!("{}\n", serde_json::to_string_pretty(value).context("can't write JSON")?))
}

/// One YAML document on stdout.
pub fn yaml(value: &impl Serialize) -> anyhow::Result<()> {
    text(&serde_saphyr::to_string(value).context("can't write YAML")?)
}

/// The same, between other documents, with what it is as a comment.
pub fn document(comment: &str, value: &impl Serialize) -> anyhow::Result<()> {
    text(&format!("---\n# {comment}\n"))?;
    yaml(value)
}

/// Text on stdout. A reader that has gone (`| head`) is an error, not a panic.
pub fn text(text: &str) -> anyhow::Result<()> {
    write(io::stdout().lock(), text)
}

/// Text with colours, which only a terminal sees.
pub fn styled(text: &str) -> anyhow::Result<()> {
    write(anstream::stdout().lock(), text)
}

fn write(mut stdout: impl Write, text: &str) -> anyhow::Result<()> {
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("can't write to stdout")
}
