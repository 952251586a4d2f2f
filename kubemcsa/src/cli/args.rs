//! The commands.

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::cli::program;
use crate::cli::usage::Usage;
use crate::commands::allow::{self, Change};
use crate::commands::{
    bootstrap, check, completion, export, graph, imports, install, links, man, reference, rotate, uninstall,
    unlink, version,
};

/// Service accounts of other clusters, imported.
///
/// What was asked for goes to stdout, and nothing else does; progress and warnings go to stderr.
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Debug, clap::Parser)]
#[command(name = "kubemcsa", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Installs the importer and the webhook into a target
    Install(install::Args),
    /// Takes importer and webhook back out of a target; imports stay, unless told otherwise
    Uninstall(uninstall::Args),
    /// Links a target to a source: imports in the target may then name the source
    Bootstrap(Box<bootstrap::Args>),
    /// Lets a target import more service accounts of a source
    Allow(allow::Args),
    /// Lets a target import fewer service accounts of a source
    Deny(allow::Args),
    /// Replaces a link's credential: whatever was stolen of the old one stops working
    Rotate(rotate::Args),
    /// Removes a link, from both sides
    Unlink(unlink::Args),
    /// Lists the links of a target: the sources that its imports may name
    Links(links::Args),
    /// Lists the imports of a target, and whether each is kept fresh
    Imports(imports::Args),
    /// Finds out why something does not work, with a command that mends it; exit code 1 if there are problems
    Check(check::Args),
    /// Prints a token of a service account of the current context, in the form that a consumer reads
    Export(Box<export::Args>),
    /// Draws who in which cluster holds which identity where, and what it may do there
    Graph(graph::Args),
    /// Prints what a shell reads to complete commands and flags
    Completion(completion::Args),
    /// Writes the manual pages
    #[command(hide = true)]
    Man(man::Args),
    /// Prints the command reference
    #[command(hide = true)]
    Reference(reference::Args),
    /// Prints the version
    Version(version::Args),
}

impl Cli {
    /// Reads the command line; where it is wrong, says so and ends.
    pub fn read() -> Self {
        let matches = Self::command().bin_name(program::name()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Install(args) => install::run(args).await,
            Command::Uninstall(args) => uninstall::run(args).await,
            Command::Bootstrap(args) => bootstrap::run(*args).await,
            Command::Allow(args) => allow::run(args, Change::Allow).await,
            Command::Deny(args) => allow::run(args, Change::Deny).await,
            Command::Rotate(args) => rotate::run(args).await,
            Command::Unlink(args) => unlink::run(args).await,
            Command::Links(args) => links::run(args).await,
            Command::Imports(args) => imports::run(args).await,
            Command::Check(args) => check::run(args).await,
            Command::Export(args) => export::run(*args).await,
            Command::Graph(args) => graph::run(args).await,
            Command::Completion(args) => completion::run(args),
            Command::Man(args) => man::run(args, Self::command()),
            Command::Reference(args) => reference::run(args, &Self::command()),
            Command::Version(args) => version::run(args),
        }
    }
}

/// Prints wrong usage as clap prints its own, and exits.
pub fn exit(usage: &Usage) -> ! {
    let mut cli = Cli::command().bin_name(program::name());
    cli.build();
    let mut fallback = cli.clone();
    let command = cli.find_subcommand_mut(usage.command).unwrap_or(&mut fallback);
    command.error(ErrorKind::ArgumentConflict, usage.problem).exit()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest::rstest]
    #[case(&["kubemcsa", ""], &["install", "bootstrap", "completion"])]
    #[case(&["kubemcsa", "bootstrap", "--target-c"], &["--target-context"])]
    #[case(&["kubemcsa", "completion", "k"], &["kubectl"])]
    fn what_is_offered(#[case] words: &[&str], #[case] expected: &[&str]) {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let last = words.len() - 1;
        let mut completed = completion::completed(&Cli::command());
        let offered = clap_complete::engine::complete(&mut completed, words, last, None).unwrap();
        let offered: Vec<_> =
            offered.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect();
        assert!(expected.iter().all(|expected| offered.contains(&(*expected).to_owned())), "{offered:?}");
        assert!(!offered.contains(&"man".to_owned()), "{offered:?}");
    }

    #[test]
    fn the_committed_page_is_the_generated_one() {
        let committed = include_str!("../../../docs/commands.md");
        let mend = "run: cargo run --package kubemcsa -- reference > docs/commands.md";
        assert!(committed == reference::page(&Cli::command()), "{mend}");
    }
}
