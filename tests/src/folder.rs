//! The folder of one cluster: gone after a success, there to be read after a failure.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;

use crate::process::remove_folder;
use crate::{cache, note};

/// How long the logs of a process that is gone stay.
const RETENTION: Duration = Duration::from_secs(3600);

/// A folder that is locked while the process that made it lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    stay: bool,
    _lock: File,
}

impl Folder {
    /// Makes the folder of a cluster, and sweeps those of processes that are gone.
    pub(crate) fn create(cluster: &str) -> anyhow::Result<Self> {
        let clusters = cache::folder("clusters")?;
        sweep(&clusters);
        let path = tempfile::Builder::new()
            // It holds the keys of an administrator.
            .permissions(fs::Permissions::from_mode(0o700))
            .prefix(&format!("{}-{cluster}-", std::process::id()))
            .tempdir_in(&clusters)
            .with_context(|| format!("making a folder for cluster {cluster} in {}", clusters.display()))?
            .keep();
        let lock = cache::lock_file(&path.join("lock"))?;
        lock.try_lock().with_context(|| format!("locking {}", path.display()))?;
        Ok(Self { path, stay: false, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Leaves the folder to be read, and says where it is.
    pub(crate) fn stay(&mut self) {
        self.stay = true;
        let mut logs: Vec<_> = files(&self.path).filter(|file| file.ends_with(".log")).collect();
        logs.sort();
        note(format_args!("the folder {} is kept: {}", self.path.display(), logs.join(", ")));
    }

    /// Leaves the folder to whoever stops the cluster; it is never swept.
    pub(crate) fn hand_over(&mut self) -> anyhow::Result<PathBuf> {
        self.stay = true;
        fs::write(self.join("kept"), "")?;
        Ok(self.path.clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.stay && std::thread::panicking() {
            self.stay();
        }
        if !self.stay
            && let Err(error) = remove_folder(&self.path)
        {
            note(format_args!("removing {}: {error}", self.path.display()));
        }
    }
}

fn files(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// What is left of a dead process: its logs stay for an hour, etcd's data goes at once.
fn sweep(clusters: &Path) {
    for name in files(clusters) {
        let folder = clusters.join(name);
        if folder.join("kept").exists() || !is_abandoned(&folder) {
            continue;
        }
        // Errors: another process sweeps too.
        if age(&folder).is_some_and(|age| age > RETENTION) {
            drop(fs::remove_dir_all(&folder));
        } else {
            drop(fs::remove_dir_all(folder.join("etcd")));
        }
    }
}

/// Without a lock file it is about to be made, or already on its way out.
fn is_abandoned(folder: &Path) -> bool {
    File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// The time since anything in it was last written.
fn age(folder: &Path) -> Option<Duration> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let newest = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
    SystemTime::now().duration_since(newest).ok()
}
