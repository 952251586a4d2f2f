//! `kubemcsa completion`: what a shell reads to complete commands, flags and names of contexts. The
//! script asks the program itself, so it fits whichever version is installed.

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use crate::cli::args::Cli;
use crate::cli::output;
use crate::cluster::kubeconfig;

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

/// Completes, if it is a shell that asks; whether it was.
///
/// # Errors
/// When stdout can't be written to.
pub fn asked() -> Result<bool, clap::Error> {
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(command).var(ASKED).try_complete(std::env::args_os(), folder.as_deref())
}

/// The contexts that a flag can name. Where there is no kubeconfig, there is nothing to offer.
pub fn contexts() -> Vec<CompletionCandidate> {
    let kubeconfig = kubeconfig::read(None, "--");
    kubeconfig
        .map(|kubeconfig| kubeconfig.contexts)
        .unwrap_or_default()
        .into_iter()
        .map(|named| {
            let cluster = named.context.map(|context| format!("cluster {}", context.cluster));
            CompletionCandidate::new(named.name).help(cluster.map(Into::into))
        })
        .collect()
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

/// Hidden commands are offered where nothing else fits.
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
    use std::ffi::OsString;

    #[rstest::rstest]
    #[case(&["kubemcsa", ""], &["install", "bootstrap", "completion"])]
    #[case(&["kubemcsa", "bootstrap", "--target-c"], &["--target-context"])]
    #[case(&["kubemcsa", "completion", "k"], &["kubectl"])]
    fn what_is_offered(#[case] words: &[&str], #[case] expected: &[&str]) {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let last = words.len() - 1;
        let offered = clap_complete::engine::complete(&mut command(), words, last, None).unwrap();
        let offered: Vec<_> =
            offered.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect();
        assert!(expected.iter().all(|expected| offered.contains(&(*expected).to_owned())), "{offered:?}");
        assert!(!offered.contains(&"man".to_owned()), "{offered:?}");
    }

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
