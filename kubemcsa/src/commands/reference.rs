//! `kubemcsa reference`: all commands and flags on one page, docs/commands.md.

use clap::CommandFactory;
use clap_markdown::{MarkdownOptions, help_markdown_command_custom};

use crate::cli::args::Cli;
use crate::cli::output;

/// No flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Prints the page.
pub fn run(_: Args) -> anyhow::Result<()> {
    output::text(&page())
}

fn page() -> String {
    let options = MarkdownOptions::new().title("Commands of kubemcsa".to_owned()).show_footer(false);
    let page = help_markdown_command_custom(&Cli::command(), &options);
    format!("{}\n", page.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_page_is_the_generated_one() {
        let committed = include_str!("../../../docs/commands.md");
        let mend = "run: cargo run --package kubemcsa -- reference > docs/commands.md";
        assert!(committed == super::page(), "{mend}");
    }
}
