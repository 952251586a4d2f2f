//! No command panics or prints a credential, whatever the kubeconfig is.
//!
//! Nothing answers at the addresses of the clusters, so no command gets as far as to print a credential on purpose, as
//! `export` does.

use std::path::Path;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use mcsa_tests::{shared_source, unique};

use super::case::Case;
use super::run::{self, Run};
use super::values::Values;
use super::verdict::faults;
use super::{PARALLEL, corpus, files};
use crate::commands::table::{CHECK, COMMANDS};

/// Runs all commands, one after another, and the completion of contexts. Returns their faults.
async fn try_all(case: Case, folder: &Path, values: &Values) -> anyhow::Result<Vec<String>> {
    let folder = folder.join(case.name.replace('/', "-"));
    files::write(&case, &folder, values)?;
    let mut problems = Vec::new();
    let mut judge = |command: &str, run: &Run| {
        let faults = faults(run, values);
        problems.extend(faults.iter().map(|fault| format!("{}: {command}: {fault}", case.name)));
    };
    for command in COMMANDS.iter().chain([&CHECK]) {
        let prefixes = command.prefixes();
        let mut args: Vec<_> = command.words.split(' ').collect();
        if prefixes.len() > 1 {
            // Target and source are the same, so that the command reads the kubeconfig as that of both.
            args.push("--allow-self");
        }
        let run = run::kubemcsa(&args, prefixes, &case, &folder, values).await?;
        judge(command.words, &run);
    }
    judge("completion", &run::complete_context(&case, &folder, values).await?);
    Ok(problems)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_panics_or_prints_a_credential() -> anyhow::Result<()> {
    let cases = corpus()?;
    let source = shared_source().await?;
    let folder = tempfile::tempdir()?;
    let values = Values::prepare(&source, &unique("unreachable"), folder.path()).await?.without_servers();
    let possible = cases.into_iter().filter(|case| values.can_render(case));
    let each = possible.map(async |case| {
        let name = case.name.clone();
        try_all(case, folder.path(), &values).await.with_context(|| name)
    });
    let problems: Vec<_> = futures::stream::iter(each).buffer_unordered(PARALLEL).try_collect().await?;
    let problems = problems.concat();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}
