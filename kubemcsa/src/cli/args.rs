//! The command line.

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::cli::program;
use crate::cli::usage::Usage;
use crate::commands::allow::{self, Change};
use crate::commands::{
    bootstrap, check, completion, export, graph, imports, install, launch, links, man, reference, rotate,
    uninstall, unlink, version,
};

/// Use service accounts of one Kubernetes cluster in another, with short-lived tokens.
///
/// Results go to stdout; progress and warnings go to stderr.
/// Exit codes: 0 success, 1 failure, 2 wrong usage.
#[derive(Debug, clap::Parser)]
#[command(name = "kubemcsa", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Install the importer and the webhook in a target
    #[command(after_help = "Examples:\n\
\x20 kubemcsa install --context c1\n\
\x20 kubemcsa install --context c1 --namespaces team-a,team-b")]
    Install(install::Args),
    /// Uninstall the importer and the webhook from a target, and keep its imports by default
    #[command(after_help = "Examples:\n\
\x20 kubemcsa uninstall --context c1 --dry-run\n\
\x20 kubemcsa uninstall --context c1 --delete-imports")]
    Uninstall(uninstall::Args),
    /// Link a target to a source, so that imports in the target can name the source
    #[command(after_help = "Examples:\n\
\x20 kubemcsa bootstrap --target-context c1 --source-context c2 --allow argocd\n\
\x20 kubemcsa bootstrap --target-context c1 --source-context c2 --dry-run")]
    Bootstrap(Box<bootstrap::Args>),
    /// Allow a target to import more service accounts of a source
    #[command(after_help = "Examples:\n\
\x20 kubemcsa allow argocd team-a/builder --target-context c1 --source-context c2\n\
\x20 kubemcsa allow argocd --for gitops --target-context c1 --source-context c2")]
    Allow(allow::Args),
    /// Deny a target service accounts of a source that it was allowed to import
    #[command(after_help = "Examples:\n\
\x20 kubemcsa deny argocd --target-context c1 --source-context c2\n\
\x20 kubemcsa deny argocd --for gitops --target-context c1 --source-name c2")]
    Deny(allow::Args),
    /// Let pods of a namespace of the target run in a source, as if the source were a node
    #[command(after_help = "Examples:\n\
\x20 kubemcsa launch team-a --target-context c1 --source-context c2\n\
\x20 kubemcsa launch team-a --target-context c1 --source-context c2 --stop")]
    Launch(Box<launch::Args>),
    /// Rotate a link's credential and revoke all earlier tokens
    #[command(after_help = "Example:\n  kubemcsa rotate --target-context c1 --source-context c2")]
    Rotate(rotate::Args),
    /// Remove a link from both clusters
    #[command(after_help = "Examples:\n\
\x20 kubemcsa unlink --target-context c1 --source-context c2 --dry-run\n\
\x20 kubemcsa unlink --source-only --target-name c1 --source-context c2")]
    Unlink(unlink::Args),
    /// List the links of a target: the sources that its imports can name
    #[command(after_help = "Example:\n  kubemcsa links --context c1 -o wide")]
    Links(links::Args),
    /// List the imports of a target, and whether each is up to date
    #[command(after_help = "Example:\n  kubemcsa imports --context c1 -n default")]
    Imports(imports::Args),
    /// Diagnose an installation and print a fix for each problem; exit with code 1 if there are any
    #[command(after_help = "Examples:\n\
\x20 kubemcsa check --context c1\n\
\x20 kubemcsa check --context c1 -n default")]
    Check(check::Args),
    /// Print a token of a service account in the form that a consumer reads
    #[command(after_help = "Examples:\n\
\x20 kubemcsa export argocd-manager -n argocd --context c2 --format argocd\n\
\x20 kubemcsa export pod-lister --context c2 --format kubeconfig")]
    Export(Box<export::Args>),
    /// Show which workloads hold which imported identities, and their permissions
    #[command(after_help = "Examples:\n\
\x20 kubemcsa graph --context c1 --context c2\n\
\x20 kubemcsa graph --all-contexts -o svg > graph.svg")]
    Graph(graph::Args),
    /// Print a script for shell completion of commands, flags and contexts
    #[command(after_help = "Example:\n  source <(kubemcsa completion bash)")]
    Completion(completion::Args),
    /// Write the manual pages
    #[command(hide = true)]
    Man(man::Args),
    /// Print the command reference
    #[command(hide = true)]
    Reference(reference::Args),
    /// Print the version
    #[command(after_help = "Example:\n  kubemcsa version -o json")]
    Version(version::Args),
}

impl Cli {
    /// Parses the command line; exits if it is wrong.
    pub(crate) fn read() -> Self {
        let matches = Self::command().bin_name(program::name()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Install(args) => install::run(args).await,
            Command::Uninstall(args) => uninstall::run(args).await,
            Command::Bootstrap(args) => bootstrap::run(*args).await,
            Command::Allow(args) => allow::run(args, Change::Allow).await,
            Command::Deny(args) => allow::run(args, Change::Deny).await,
            Command::Launch(args) => launch::run(*args).await,
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
pub(crate) fn exit(usage: &Usage) -> ! {
    let mut cli = Cli::command().bin_name(program::name());
    cli.build();
    let mut fallback = cli.clone();
    let command = cli.find_subcommand_mut(usage.command).unwrap_or(&mut fallback);
    command.error(ErrorKind::ArgumentConflict, program::rename_commands(&usage.problem)).exit()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest::rstest]
    #[case(&["kubemcsa", ""], &["install", "bootstrap", "completion"])]
    #[case(&["kubemcsa", "bootstrap", "--target-c"], &["--target-context"])]
    #[case(&["kubemcsa", "completion", "k"], &["kubectl"])]
    fn subcommands_and_flags_are_completed(#[case] words: &[&str], #[case] expected: &[&str]) {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let last = words.len() - 1;
        let mut completed = completion::completed(&Cli::command());
        let candidates = clap_complete::engine::complete(&mut completed, words, last, None).unwrap();
        let candidates: Vec<_> =
            candidates.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect();
        assert!(
            expected.iter().all(|expected| candidates.contains(&(*expected).to_owned())),
            "{candidates:?}"
        );
        assert!(!candidates.contains(&"man".to_owned()), "{candidates:?}");
    }

    #[test]
    fn all_visible_subcommands_are_renamed_in_messages() {
        let cli = Cli::command();
        let visible = cli.get_subcommands().filter(|command| !command.is_hide_set());
        let names: Vec<_> = visible.map(|command| command.get_name().to_owned()).collect();
        assert_eq!(names, program::SUBCOMMANDS);
    }

    #[test]
    fn committed_reference_is_up_to_date() {
        let committed = include_str!("../../../docs/commands.md");
        let fix = "run: cargo run --package kubemcsa -- reference > docs/commands.md";
        assert!(committed == reference::page(&Cli::command()), "{fix}");
    }
}
