//! `kubemcsa completion`: what a shell reads to complete commands and flags.

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::output;

/// For which shell.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Supported,
}

/// The shells that each release has completions for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions.
pub fn run(args: Args) -> anyhow::Result<()> {
    let shell = match args.shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    // Not straight to stdout: a reader that has gone would be a panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "kubemcsa", &mut script);
    output::text(&String::from_utf8(script).context("the completions are no text")?)
}

/// clap_complete offers what is hidden, too.
fn command() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("kubemcsa")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(shown.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(Shell::Bash)]
    #[case(Shell::Zsh)]
    #[case(Shell::Fish)]
    fn commands_are_offered_unless_they_are_hidden(#[case] shell: Shell) {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), "kubemcsa", &mut script);
        let script = String::from_utf8(script).unwrap();
        for shown in ["install", "bootstrap", "completion", "kubeconfig", "version"] {
            assert!(script.contains(shown), "{shown}");
        }
        assert!(!script.contains("manual pages") && !script.contains("kubemcsa__subcmd__man"));
    }
}
