//! `kubemcsa completion`: prints a script with which shells complete commands, flags and names of contexts. The script
//! calls the program, so it fits any version.

use anyhow::Context;
use clap::Command;
use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use crate::cli::output;

/// The variable that the script sets to the name of the shell.
const VARIABLE: &str = "KUBEMCSA_COMPLETE";

/// `kubectl_complete-mcsa`, which kubectl runs to complete `kubectl mcsa`
/// (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>). It expects the same format as fish.
const FOR_KUBECTL: &str = "\
#!/bin/sh
KUBEMCSA_COMPLETE=fish kubectl-mcsa -- kubemcsa \"$@\"
echo :4
";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell, or kubectl for a script to install as kubectl_complete-mcsa on the PATH
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    output::text(&script(args.shell)?)
}

/// Completes a command line of `cli` if a shell requests it. Returns whether one did.
pub(crate) fn complete(cli: fn() -> Command) -> Result<bool, clap::Error> {
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| completed(&cli()))
        .var(VARIABLE)
        .try_complete(std::env::args_os(), folder.as_deref())
}

fn script(shell: Shell) -> anyhow::Result<String> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
        Shell::Kubectl => return Ok(FOR_KUBECTL.to_owned()),
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "kubemcsa", "kubemcsa", "kubemcsa", &mut script)?;
    String::from_utf8(script).context("the completion script is not UTF-8")
}

/// The command line without hidden commands, which clap would offer if nothing else matches.
pub(crate) fn completed(all: &Command) -> Command {
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
    #[case(Shell::Kubectl)]
    fn script_calls_the_program(#[case] shell: Shell) {
        let script = script(shell).unwrap();
        assert!(script.contains(VARIABLE), "{script}");
    }
}
