//! `kubemcsa man`: the manual pages, for who packages releases.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Command;

/// Where to write.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

/// Writes a page for each command.
pub fn run(args: Args, cli: Command) -> anyhow::Result<()> {
    let folder = args.output;
    let write = || {
        fs::create_dir_all(&folder)?;
        clap_mangen::generate_to(cli, &folder)
    };
    write().with_context(|| format!("writing manual pages to {}", folder.display()))
}
