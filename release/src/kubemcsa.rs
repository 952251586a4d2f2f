//! The archive of kubemcsa, with its completions and manual pages.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use crate::archive::{Content, Tree};
use crate::compile::{self, cargo, compile_release};
use crate::{Arch, VERSION, progress};

/// Files that kubemcsa generates. They are the same for all architectures.
pub(crate) struct Generated {
    /// The output of `kubemcsa install --output yaml`.
    pub manifests: String,
    /// Completions and manual pages, by their paths in the archive.
    files: BTreeMap<String, Vec<u8>>,
}

/// Generates the files with a debug build for this machine.
pub(crate) fn generate() -> anyhow::Result<Generated> {
    progress(format_args!("generating the manifests, completions and manual pages of kubemcsa"));
    let mut files = BTreeMap::new();
    for (shell, file) in [("bash", "kubemcsa.bash"), ("zsh", "_kubemcsa"), ("fish", "kubemcsa.fish")] {
        files.insert(format!("completions/{file}"), run(&["completion", shell])?.into_bytes());
    }
    let pages = tempfile::tempdir().context("creating a folder for manual pages")?;
    let folder = pages.path().to_str().context("the path of the folder for temporary files is not UTF-8")?;
    run(&["man", "--output", folder])?;
    for page in fs::read_dir(pages.path()).context("reading the manual pages")? {
        let page = page.context("reading the manual pages")?;
        let content = fs::read(page.path()).context("reading the manual pages")?;
        files.insert(format!("man/{}", page.file_name().to_string_lossy()), content);
    }
    Ok(Generated { manifests: run(&["install", "--output", "yaml"])?, files })
}

/// The name and content of the archive for an architecture.
pub(crate) fn package(arch: Arch, generated: &Generated) -> anyhow::Result<(String, Vec<u8>)> {
    let [binary] = compile_release(arch, [&compile::KUBEMCSA])?;
    Ok((format!("kubemcsa-{VERSION}-linux-{arch}.tar.gz"), archive(&binary, generated)?))
}

fn archive(binary: &Path, generated: &Generated) -> anyhow::Result<Vec<u8>> {
    let mut tree = Tree::default();
    tree.file("kubemcsa", Content::Host(binary.to_path_buf()), 0o755)?;
    tree.file("LICENSE", Content::Host(compile::root().join("LICENSE")), 0o644)?;
    for (path, content) in &generated.files {
        tree.bytes(path, content.clone(), 0o644)?;
    }
    tree.tar_gz()
}

fn run(arguments: &[&str]) -> anyhow::Result<String> {
    let what = || format!("kubemcsa {}", arguments.join(" "));
    let mut kubemcsa = cargo(&["run", "--quiet", "--locked", "--package", "kubemcsa", "--"]);
    let output = kubemcsa.args(arguments).output().context("running cargo")?;
    if !output.status.success() {
        bail!("{} failed: {}", what(), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of {} is not UTF-8", what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_has_program_license_completions_and_manual() {
        let file = |path: &str| (path.to_owned(), path.as_bytes().to_vec());
        let files = [file("man/kubemcsa.1"), file("completions/_kubemcsa")].into();
        let generated = Generated { manifests: String::new(), files };
        let content = archive(&compile::root().join("Cargo.toml"), &generated).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(content.as_slice()));
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap())
        });
        let expected = [
            ("LICENSE", 0o644),
            ("completions/", 0o755),
            ("completions/_kubemcsa", 0o644),
            ("kubemcsa", 0o755),
            ("man/", 0o755),
            ("man/kubemcsa.1", 0o644),
        ];
        assert!(entries.eq(expected.map(|(path, mode)| (path.to_owned(), mode))));
    }
}
