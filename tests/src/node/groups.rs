//! The control groups of a node's pods.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::network::Network;

/// A control group in each hierarchy of this machine, for all pods of a node.
#[derive(Debug)]
pub(crate) struct Groups {
    name: String,
}

impl Groups {
    pub(crate) fn make(network: &Network) -> anyhow::Result<Self> {
        let groups = Self { name: format!("mcsa{}", network.number()) };
        // Those of one that was killed.
        groups.remove();
        for folder in groups.folders() {
            fs::create_dir_all(&folder)
                .with_context(|| format!("making the control group {}", folder.display()))?;
        }
        Ok(groups)
    }

    /// As the kubelet calls it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// One with version 2; several with version 1, some of which are links to others.
    fn folders(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        if root.join("cgroup.controllers").exists() {
            return vec![root.join(&self.name)];
        }
        let all = fs::read_dir(root).into_iter().flatten().flatten();
        let hierarchies = all.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        hierarchies.map(|entry| entry.path().join(&self.name)).collect()
    }

    fn remove(&self) {
        for folder in self.folders() {
            remove(&folder);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Control groups are removed from the leaves up; what is in them can't be.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(fs::remove_dir(folder));
}
