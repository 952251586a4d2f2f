//! The control groups of a node's pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::print_uncaptured;

const ATTEMPTS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// The control groups that contain all pods of a node, one in each hierarchy of this machine.
#[derive(Debug)]
pub(crate) struct Cgroups {
    name: String,
}

impl Cgroups {
    /// `number` is that of the node's network.
    pub(crate) fn create(number: u8) -> anyhow::Result<Self> {
        let cgroups = Self { name: name(number) };
        for folder in folders(&cgroups.name) {
            fs::create_dir_all(&folder)
                .with_context(|| format!("creating the control group {}", folder.display()))?;
        }
        Ok(cgroups)
    }

    /// The path of the control groups in their hierarchies, for the kubelet.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroups {
    /// Retries, because killed processes stay in their control group for a moment.
    fn drop(&mut self) {
        for _ in 0..ATTEMPTS {
            remove_all(&self.name);
            if !folders(&self.name).iter().any(|folder| folder.exists()) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        print_uncaptured(format_args!("can't remove the control groups {}", self.path()));
    }
}

/// Removes the control groups that a killed node with this number left behind.
pub(crate) fn clean_up(number: u8) {
    remove_all(&name(number));
}

fn name(number: u8) -> String {
    format!("mcsa{number}")
}

/// One folder with cgroup v2; several with v1, where some hierarchies are links to others.
fn folders(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(name)];
    }
    let all = fs::read_dir(root).into_iter().flatten().flatten();
    let hierarchies = all.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    hierarchies.map(|entry| entry.path().join(name)).collect()
}

fn remove_all(name: &str) {
    folders(name).iter().for_each(|folder| remove(folder));
}

/// Removes the folders, bottom up. The kernel removes the files in them.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(fs::remove_dir(folder));
}
