//! `kubemcsa completion`: what a shell reads to complete commands, flags and names of contexts. The
//! script asks the program itself, so it fits whichever version is installed.

use anyhow::Context;
use clap::Command;
use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use crate::cli::output;

/// The variable by which a script asks; it names the shell.
const ASKED: &str = "KUBEMCSA_COMPLETE";

/// What kubectl runs to complete `kubectl mcsa`, as a program `kubectl_complete-mcsa` on the PATH
/// (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>). Fish's form is kubectl's, too.
const FOR_KUBECTL: &str = "\
#!/bin/sh
KUBEMCSA_COMPLETE=fish kubectl-mcsa -- kubemcsa \"$@\"
echo :4
";

/// For which shell.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The shell; or kubectl, for a program kubectl_complete-mcsa on the PATH
    #[arg(value_enum)]
    shell: Supported,
}

/// Who completes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

/// Prints the script.
pub fn run(args: Args) -> anyhow::Result<()> {
    output::text(&script(args.shell)?)
}

/// Completes a command line of `cli` if a shell asks for it; returns whether one did.
pub fn complete(cli: fn() -> Command) -> Result<bool, clap::Error> {
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| completed(&cli()))
        .var(ASKED)
        .try_complete(std::env::args_os(), folder.as_deref())
}

fn script(shell: Supported) -> anyhow::Result<String> {
    let shell: &dyn EnvCompleter = match shell {
        Supported::Bash => &Bash,
        Supported::Zsh => &Zsh,
        Supported::Fish => &Fish,
        Supported::Kubectl => return Ok(FOR_KUBECTL.to_owned()),
    };
    let mut script = Vec::new();
    shell.write_registration(ASKED, "kubemcsa", "kubemcsa", "kubemcsa", &mut script)?;
    String::from_utf8(script).context("the completions are no text")
}

/// Without the hidden commands: clap offers those where nothing else fits.
pub fn completed(all: &Command) -> Command {
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
    #[case(Supported::Bash)]
    #[case(Supported::Zsh)]
    #[case(Supported::Fish)]
    #[case(Supported::Kubectl)]
    fn a_script_asks_the_program(#[case] shell: Supported) {
        let script = script(shell).unwrap();
        assert!(script.contains(ASKED), "{script}");
    }
}
