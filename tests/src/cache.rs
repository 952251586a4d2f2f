//! The cache folder, which outlives a test run.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A folder in `MCSA_CACHE`, or in `mcsa` in the user's cache folder. Creates it if it is missing.
pub(crate) fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = set("MCSA_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("mcsa")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/mcsa")))
        .context("no cache folder: set MCSA_CACHE, XDG_CACHE_HOME or HOME")?;
    let folder = root.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("creating the folder {}", folder.display()))?;
    // Child processes may run in other folders, so they need an absolute path.
    folder.canonicalize().with_context(|| format!("resolving {}", folder.display()))
}

/// Opens a file for locking. The kernel releases the lock when the process ends.
pub(crate) fn lock_file(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("opening the lock file {}", path.display()))
}
