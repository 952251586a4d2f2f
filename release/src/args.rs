//! The commands.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mcsa_release::{Arch, Changes, Profile, folders, images, release};

/// Build the files of a release from this work tree.
///
/// Prints each file and its size to stdout, and progress to stderr.
#[derive(Debug, clap::Parser)]
#[command(name = "mcsa-release", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build an image archive of importer, webhook, launcher and list-remote-pods
    Images {
        #[command(flatten)]
        common: Common,

        /// Write a folder with the files of each image instead, for the Containerfile to copy
        #[arg(long)]
        folders: bool,
    },
    /// Build all files of a release, and their hashes
    All {
        #[command(flatten)]
        common: Common,

        /// Preview a release whose changes CHANGELOG.md still lists as Unreleased
        #[arg(long)]
        unreleased: bool,

        /// Also write mcsa.yaml, the Krew manifest of kubectl mcsa, for files downloaded from this URL
        #[arg(long, value_name = "URL")]
        download_url: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Architectures to build for [default: that of this machine]
    #[arg(long, value_enum, value_name = "ARCH", value_delimiter = ',')]
    arch: Vec<Arch>,

    /// Folder to write to
    #[arg(long, value_name = "FOLDER", default_value = "dist")]
    output: PathBuf,
}

impl Cli {
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Images { common, folders: true } => {
                let archs = common.archs()?;
                ensure!(archs.len() == 1, "--folders takes one architecture: set one with --arch");
                archs.iter().try_for_each(|arch| folders(*arch, &common.output))
            }
            Command::Images { common, folders: false } => {
                for arch in common.archs()? {
                    for image in images(arch, Profile::Release, &common.output)?.all() {
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
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest::rstest]
    #[case(&[], &[Arch::host().unwrap()])]
    #[case(&["--arch", "arm64"], &[Arch::Arm64])]
    #[case(&["--arch", "arm64,amd64"], &[Arch::Amd64, Arch::Arm64])]
    #[case(&["--arch", "arm64", "--arch", "arm64"], &[Arch::Arm64])]
    fn arch_takes_a_list_and_may_be_repeated(#[case] flags: &[&str], #[case] archs: &[Arch]) {
        let cli = Cli::try_parse_from([&["mcsa-release", "images"], flags].concat()).unwrap();
        let Command::Images { common, .. } = cli.command else { panic!("not the command images") };
        assert!(common.archs().unwrap().iter().eq(archs));
    }
}
