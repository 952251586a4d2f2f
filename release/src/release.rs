//! Writes all files of a release into one folder.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::changelog::{self, Changes};
use crate::compile::{Profile, root};
use crate::digest::sha256;
use crate::toolchain::Toolchain;
use crate::{Arch, VERSION, archive, chart, images, krew, kubemcsa, monitoring};

/// The file with the hashes of all others, in the format of `sha256sum --check`.
const SUMS: &str = "SHA256SUMS";

/// Writes all files of a release and returns their paths. The same work tree gives the same bytes.
///
/// `url` is where users download them; without it, no manifest for Krew is written.
pub fn release(
    archs: &[Arch],
    output: &Path,
    changes: Changes,
    url: Option<&str>,
) -> anyhow::Result<Vec<PathBuf>> {
    // Check this before compiling, which takes minutes.
    let path = root().join("CHANGELOG.md");
    let changelog = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    changelog::check(&changelog, VERSION, changes)?;
    // It is written last, so that a folder with this file is complete.
    let sums = output.join(SUMS);
    match fs::remove_file(&sums) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", sums.display()));
        }
        _ => {}
    }
    for arch in archs {
        Toolchain::find(*arch)?;
    }
    let mut files = Files { folder: output, names: Vec::new() };
    let (name, content) = chart::package(&root().join("manifests/helm"), VERSION)?;
    files.write(&name, &content)?;
    files.write("monitoring.yaml", monitoring::render(&root().join("manifests/monitoring"))?.as_bytes())?;

    let generated = kubemcsa::generate()?;
    files.write("install.yaml", generated.manifests.as_bytes())?;
    let mut programs = Vec::new();
    for arch in archs {
        let (name, content) = kubemcsa::package(*arch, &generated)?;
        files.write(&name, &content)?;
        programs.push((*arch, name, content));
        for image in images(*arch, Profile::Release, output)?.all() {
            files.add(&image.archive)?;
        }
    }
    if let Some(url) = url {
        let archives: Vec<_> =
            programs.iter().map(|(arch, name, content)| (*arch, name.as_str(), content.as_slice())).collect();
        files.write(krew::FILE, krew::manifest(url, &archives)?.as_bytes())?;
    }
    files.sum()
}

/// The files written so far. Other files in the folder, such as those of an earlier release, are not touched.
struct Files<'a> {
    folder: &'a Path,
    names: Vec<String>,
}

impl Files<'_> {
    fn write(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        archive::write(&self.folder.join(name), content)?;
        self.names.push(name.into());
        Ok(())
    }

    /// Adds a file that is already in the folder.
    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str());
        self.names.push(name.with_context(|| format!("{} is not a file name", path.display()))?.into());
        Ok(())
    }

    /// Writes the hashes and returns all paths.
    fn sum(mut self) -> anyhow::Result<Vec<PathBuf>> {
        self.names.sort();
        let mut sums = String::new();
        for name in &self.names {
            let path = self.folder.join(name);
            let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            writeln!(sums, "{}  {name}", sha256(&content))?;
        }
        self.write(SUMS, sums.as_bytes())?;
        Ok(self.names.iter().map(|name| self.folder.join(name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_cover_only_the_files_of_this_release() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("image.tar"), "abc").unwrap();
        fs::write(folder.path().join("of-an-earlier-release"), "").unwrap();
        let mut files = Files { folder: folder.path(), names: Vec::new() };
        files.write("install.yaml", b"").unwrap();
        files.add(&folder.path().join("image.tar")).unwrap();
        let paths = files.sum().unwrap();
        assert_eq!(paths, ["image.tar", "install.yaml", SUMS].map(|name| folder.path().join(name)));
        assert_eq!(
            fs::read_to_string(folder.path().join(SUMS)).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  image.tar\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  install.yaml\n"
        );
    }
}
