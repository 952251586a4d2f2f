//! The control groups of a node's pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::note;

const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// A control group in each hierarchy of this machine, for all pods of a node.
#[derive(Debug)]
pub(crate) struct Groups {
    name: String,
}

impl Groups {
    /// `number` is that of the node's network.
    pub(crate) fn make(number: u8) -> anyhow::Result<Self> {
        let groups = Self { name: name(number) };
        for folder in folders(&groups.name) {
            fs::create_dir_all(&folder)
                .with_context(|| format!("making the control group {}", folder.display()))?;
            prefer(&folder)?;
        }
        Ok(groups)
    }

    /// As the kubelet calls it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Groups {
    /// Those who were killed are in them for a moment more.
    fn drop(&mut self) {
        for _ in 0..TRIES {
            remove_all(&self.name);
            if !folders(&self.name).iter().any(|folder| folder.exists()) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        note(format_args!("the control groups {} are still there", self.path()));
    }
}

/// Gives pods more CPU time than compilers and other tests of this machine, which would let their probes time out.
fn prefer(folder: &Path) -> anyhow::Result<()> {
    for (file, weight) in [("cpu.weight", "1600"), ("cpu.shares", "16384")] {
        let path = folder.join(file);
        if path.exists() {
            fs::write(&path, weight).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Removes what a node of this number left, that was killed.
pub(crate) fn sweep(number: u8) {
    remove_all(&name(number));
}

fn name(number: u8) -> String {
    format!("mcsa{number}")
}

/// One with version 2; several with version 1, some of which are links to others.
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

/// Control groups are removed from the leaves up; what is in them can't be.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(fs::remove_dir(folder));
}
