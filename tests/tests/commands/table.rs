//! The commands that call clusters. A new command needs a new row.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use super::{complete, run};

/// How a command accesses a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Makes no call.
    None,
    /// Only reads.
    Read,
    /// Changes objects, or mints tokens.
    Write,
}

/// A command with arguments. [`COMMANDS`] can be run in order.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The command with its arguments, except for those that name clusters.
    pub words: &'static str,
    /// Its access to `c1`.
    pub target: Access,
    /// Its access to `c2`.
    pub source: Access,
}

const fn case(words: &'static str, target: Access, source: Access) -> Case {
    Case { words, target, source }
}

pub const COMMANDS: [Case; 13] = [
    case("install --no-wait", Access::Write, Access::None),
    case("bootstrap --allow team-a", Access::Write, Access::Write),
    case("allow team-b", Access::Read, Access::Write),
    case("allow team-b --for default", Access::Write, Access::Write),
    case("launch default --no-wait", Access::Write, Access::Write),
    case("deny team-b", Access::Read, Access::Write),
    case("links -o json", Access::Read, Access::None),
    case("imports -o json", Access::Read, Access::None),
    case("graph -o json", Access::Read, Access::None),
    case("export default --namespace team-a", Access::None, Access::Write),
    case("rotate", Access::Write, Access::Write),
    case("unlink", Access::Write, Access::Write),
    case("uninstall", Access::Write, Access::None),
];

/// Not in the table: its exit code depends on its findings, and a cluster that can't be read is a finding. tests/check
/// covers it.
pub const CHECK: Case = case("check", Access::Read, Access::None);

/// The commands that call no cluster.
const WITHOUT_CLUSTER: [&str; 3] = ["completion", "version", "help"];

impl Case {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        self.words.split(' ').next().unwrap_or_default()
    }

    /// The clusters that the command accesses.
    pub fn sides(&self) -> Vec<(&'static str, Access)> {
        let all = [("c1", self.target), ("c2", self.source)];
        all.into_iter().filter(|(_, side)| *side != Access::None).collect()
    }

    /// The beginnings of the flags that select its clusters, such as `target-` of `--target-context`.
    pub fn prefixes(&self) -> &'static [&'static str] {
        match (self.target, self.source) {
            (Access::None, _) | (_, Access::None) => &[""],
            _ => &["target-", "source-"],
        }
    }

    /// All arguments.
    pub fn args(&self) -> Vec<&'static str> {
        let sides = match (self.target, self.source) {
            (_, Access::None) => &["--context", "c1"][..],
            (Access::None, _) => &["--context", "c2"],
            _ => &["--target-context", "c1", "--source-context", "c2"],
        };
        self.words.split(' ').chain(sides.iter().copied()).collect()
    }
}

/// The names of all commands, from the binary's help.
pub async fn names() -> anyhow::Result<BTreeSet<String>> {
    let help = run("/nonexistent", ["--help"]).await?.stdout()?;
    let (_, rest) = help.split_once("Commands:\n").context("the help lists no commands")?;
    let lines = rest.lines().take_while(|line| !line.is_empty());
    // Continuation lines are indented more.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    Ok(names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[tokio::test]
async fn each_command_is_in_the_table() -> anyhow::Result<()> {
    let tested = COMMANDS.iter().map(Case::name).chain(WITHOUT_CLUSTER).chain([CHECK.name()]);
    let tested: BTreeSet<_> = tested.map(str::to_owned).collect();
    ensure!(names().await? == tested, "the table has these commands: {tested:?}");
    for words in [&["version"][..], &["completion", "bash"], &["help"]] {
        let mut command = super::command("/nonexistent", words.iter().copied())?;
        command.env_remove("HOME");
        ensure!(!complete(command).await?.stdout()?.is_empty(), "{words:?} prints nothing");
    }
    Ok(())
}
