//! The commands that call clusters: whoever adds one adds a line.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use super::{ended, run};

/// What a command does with one of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It doesn't ask it.
    None,
    /// It only reads.
    Read,
    /// It changes something, or mints.
    Write,
}

/// A command, in an order in which they can be run one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// With its arguments, but those that name clusters.
    pub words: &'static str,
    /// What it does in `c1`.
    pub target: Use,
    /// What it does in `c2`.
    pub source: Use,
}

const fn line(words: &'static str, target: Use, source: Use) -> Line {
    Line { words, target, source }
}

pub const COMMANDS: [Line; 11] = [
    line("install --no-wait", Use::Write, Use::None),
    line("bootstrap --allow team-a", Use::Write, Use::Write),
    line("allow team-b", Use::Read, Use::Write),
    line("deny team-b", Use::Read, Use::Write),
    line("links -o json", Use::Read, Use::None),
    line("imports -o json", Use::Read, Use::None),
    line("graph -o json", Use::Read, Use::None),
    line("export default --namespace team-a", Use::None, Use::Write),
    line("rotate", Use::Write, Use::Write),
    line("unlink", Use::Write, Use::Write),
    line("uninstall", Use::Write, Use::None),
];

/// Its exit code says how the cluster is, and a cluster that can't be looked at is a finding: tests/check.
const JUDGE: &str = "check";

/// Those that call nobody.
const WITHOUT_CLUSTER: [&str; 3] = ["completion", "version", "help"];

impl Line {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.words.split(' ').next().unwrap_or_default()
    }

    /// The clusters that it is about, with what it does there.
    pub fn sides(&self) -> Vec<(&'static str, Use)> {
        let all = [("c1", self.target), ("c2", self.source)];
        all.into_iter().filter(|(_, side)| *side != Use::None).collect()
    }

    /// All of its words.
    pub fn args(&self) -> Vec<&'static str> {
        let sides = match (self.target, self.source) {
            (_, Use::None) => &["--context", "c1"][..],
            (Use::None, _) => &["--context", "c2"],
            _ => &["--target-context", "c1", "--source-context", "c2"],
        };
        self.words.split(' ').chain(sides.iter().copied()).collect()
    }
}

/// The names of all commands, from what the binary says of itself.
pub async fn names() -> anyhow::Result<BTreeSet<String>> {
    let help = run("/nonexistent", ["--help"]).await?.ok()?;
    let (_, rest) = help.split_once("Commands:\n").context("no commands")?;
    let lines = rest.lines().take_while(|line| !line.is_empty());
    // What a name needs more than one line for is indented more.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    Ok(names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[tokio::test]
async fn each_command_is_in_the_table() -> anyhow::Result<()> {
    let tested = COMMANDS.iter().map(Line::name).chain(WITHOUT_CLUSTER).chain([JUDGE]);
    let tested: BTreeSet<_> = tested.map(str::to_owned).collect();
    ensure!(names().await? == tested, "the table has {tested:?}");
    for words in [&["version"][..], &["completion", "bash"], &["help"]] {
        let mut command = super::command("/nonexistent", words.iter().copied())?;
        command.env_remove("HOME");
        ensure!(!ended(command).await?.ok()?.is_empty(), "{words:?} prints nothing");
    }
    Ok(())
}
