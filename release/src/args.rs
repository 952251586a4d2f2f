//! The commands.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mcsa_release::{Arch, Changes, folders, images, release};

/// Makes what is released, from this work tree.
///
/// What has been written goes to stdout, with its size; progress goes to stderr.
#[derive(Debug, clap::Parser)]
#[command(name = "mcsa-release", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Builds importer, webhook and list-remote-pods, and writes an image archive of each
    Images {
        #[command(flatten)]
        common: Common,

        /// Write a folder with the files of each image instead, for a Containerfile to copy
        #[arg(long)]
        folders: bool,
    },
    /// Makes all files of a release, with their hashes
    All {
        #[command(flatten)]
        common: Common,

        /// See what a release would be, of changes that CHANGELOG.md calls Unreleased
        #[arg(long)]
        unreleased: bool,

        /// Where the files are to be downloaded from: also write mcsa.yaml, by which Krew installs kubectl mcsa
        #[arg(long, value_name = "URL")]
        download_url: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// For which machines [default: such as this one]
    #[arg(long, value_enum, value_name = "ARCH", value_delimiter = ',')]
    arch: Vec<Arch>,

    /// Where to write
    #[arg(long, value_name = "FOLDER", default_value = "dist")]
    output: PathBuf,
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Images { common, folders: true } => {
                let archs = common.archs()?;
                ensure!(archs.len() == 1, "folders are of one architecture: choose one by --arch");
                archs.iter().try_for_each(|arch| folders(*arch, &common.output))
            }
            Command::Images { common, folders: false } => {
                for arch in common.archs()? {
                    for image in images(arch, &common.output)?.all() {
                        print(&image.archive, &image.name)?;
                    }
                }
                Ok(())
            }
            Command::All { common, unreleased, download_url } => {
                let archs: Vec<_> = common.archs()?.into_iter().collect();
                let changes = if unreleased { Changes::Unreleased } else { Changes::OfThisVersion };
                let files = release(&archs, &common.output, changes, download_url.as_deref())?;
                files.iter().try_for_each(|file| print(file, ""))
            }
        }
    }
}

impl Common {
    /// Each once, however often it was said.
    fn archs(&self) -> anyhow::Result<BTreeSet<Arch>> {
        if self.arch.is_empty() {
            return Ok([Arch::host()?].into());
        }
        Ok(self.arch.iter().copied().collect())
    }
}

fn print(file: &Path, name: &str) -> anyhow::Result<()> {
    let size = std::fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len();
    let mib = size as f64 / f64::from(1 << 20);
    let line = format!("{mib:6.2} MiB  {}  {name}", file.display());
    writeln!(std::io::stdout(), "{}", line.trim_end()).context("can't write to stdout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest::rstest]
    #[case(&[], &[Arch::host().unwrap()])]
    #[case(&["--arch", "arm64"], &[Arch::Arm64])]
    #[case(&["--arch", "arm64,amd64"], &[Arch::Amd64, Arch::Arm64])]
    #[case(&["--arch", "arm64", "--arch", "arm64"], &[Arch::Arm64])]
    fn architectures_are_listed_or_repeated(#[case] flags: &[&str], #[case] archs: &[Arch]) {
        let cli = Cli::try_parse_from([&["mcsa-release", "images"], flags].concat()).unwrap();
        let Command::Images { common, .. } = cli.command else { panic!("no images") };
        assert!(common.archs().unwrap().iter().eq(archs));
    }
}
