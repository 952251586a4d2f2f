//! `kubemcsa man`: writes the manual pages, for packages.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Command;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to write to
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, cli: Command) -> anyhow::Result<()> {
    let folder = args.output;
    let write = || {
        fs::create_dir_all(&folder)?;
        clap_mangen::generate_to(cli, &folder)
    };
    write().with_context(|| format!("writing manual pages to {}", folder.display()))
}
