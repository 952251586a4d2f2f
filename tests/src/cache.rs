//! The folder on this machine that outlives a test run.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// `MCSA_CACHE`, else `mcsa` in the user's cache folder; made when missing.
pub(crate) fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = set("MCSA_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("mcsa")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/mcsa")))
        .context("none of MCSA_CACHE, XDG_CACHE_HOME and HOME is set: nowhere to keep what tests need")?;
    let folder = root.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("creating the folder {}", folder.display()))?;
    // Children get these paths, and some run in a folder of their own.
    folder.canonicalize().with_context(|| format!("resolving {}", folder.display()))
}

/// Opens a file for locking. The lock ends with the process, whatever ends the process.
pub(crate) fn lock_file(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("opening the lock file {}", path.display()))
}
