//! `kubemcsa reference`: prints docs/commands.md, all commands and flags on one page.

use clap::Command;
use clap_markdown::{MarkdownOptions, help_markdown_command_custom};

use crate::cli::output;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args, cli: &Command) -> anyhow::Result<()> {
    output::text(&page(cli))
}

pub(crate) fn page(cli: &Command) -> String {
    let options = MarkdownOptions::new().title("Commands of kubemcsa".to_owned()).show_footer(false);
    let page = help_markdown_command_custom(cli, &options);
    format!("{}\n", page.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end())
}
