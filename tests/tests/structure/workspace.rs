//! The workspace's packages, from cargo, and its files.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Deserialize)]
pub struct Workspace {
    workspace_root: PathBuf,
    pub packages: Vec<Package>,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None`: a normal dependency.
    pub kind: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

impl Workspace {
    pub fn read() -> Result<Self> {
        let output =
            Command::new(env::var_os("CARGO").context("CARGO is not set: run this with cargo test")?)
                .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
                .current_dir(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
                .output()?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The root file of each library, binary, test, bench and example, relative to the workspace.
    pub fn roots(&self) -> BTreeSet<PathBuf> {
        let targets = self.packages.iter().flat_map(|package| &package.targets);
        targets
            .filter_map(|target| Some(target.src_path.strip_prefix(&self.workspace_root).ok()?.to_owned()))
            .collect()
    }

    /// The text of a file. `None`: it does not exist.
    pub fn text(&self, file: &Path) -> Option<String> {
        fs::read_to_string(self.workspace_root.join(file)).ok()
    }
}
