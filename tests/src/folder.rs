//! The folder of a cluster. When the cluster is gone, its logs are kept for an hour.
//!
//! Logs are kept even if the test succeeds: most tests fail by returning an error, which a destructor can't observe.
//! So tests print the folder when they start the cluster, and shared clusters are never dropped anyway. Other
//! programs, like the quickstart, have output of their own, and print the folder only after a panic.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;

use crate::programs::is_test;
use crate::{cache, print_uncaptured};

/// How long logs are kept after the cluster is gone.
const RETENTION: Duration = Duration::from_secs(3600);

/// Locked while the cluster exists, so that no other process cleans up its folder.
const LOCK: &str = "lock";

/// Marks a folder that outlives its process.
const KEPT: &str = "kept";

/// A folder that is locked until the process that created it ends.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    is_kept: bool,
    _lock: File,
}

impl Folder {
    /// Creates the folder of a cluster, and cleans up after clusters that are gone.
    pub(crate) fn create(cluster: &str) -> anyhow::Result<Self> {
        let clusters = cache::folder("clusters")?;
        clean_up(&clusters);
        let path = tempfile::Builder::new()
            // It contains an administrator's keys.
            .permissions(fs::Permissions::from_mode(0o700))
            .prefix(&format!("{}-{cluster}-", std::process::id()))
            .tempdir_in(&clusters)
            .with_context(|| format!("creating a folder for cluster {cluster} in {}", clusters.display()))?
            .keep();
        let lock = cache::lock_file(&path.join(LOCK))?;
        // Another process may hold the lock for a moment, while it checks whether the folder is abandoned.
        lock.lock().with_context(|| format!("locking {}", path.display()))?;
        if is_test() {
            // The harness names threads after their tests.
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            print_uncaptured(format_args!("{test}: {cluster} logs to {}", path.display()));
        }
        Ok(Self { path, is_kept: false, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Excludes the folder from cleanup. The user removes it.
    pub(crate) fn keep(&mut self) -> anyhow::Result<PathBuf> {
        self.is_kept = true;
        fs::write(self.join(KEPT), "")?;
        Ok(self.path.clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = remove_all_but_logs(&self.path) {
            print_uncaptured(format_args!("emptying {}: {error}", self.path.display()));
        }
        if std::thread::panicking() && !is_test() {
            print_uncaptured(format_args!("the logs are in {}", self.path.display()));
        }
    }
}

/// Cleans up after clusters that are gone: removes old logs, and everything else at once.
fn clean_up(clusters: &Path) {
    for entry in fs::read_dir(clusters).into_iter().flatten().flatten() {
        let folder = entry.path();
        if folder.join(KEPT).exists() {
            continue;
        }
        // Without a lock file, the folder is being created or removed.
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        // On error, a process may still write to the folder: the next cleanup tries again.
        drop(match age(&folder) {
            Some(age) if age > RETENTION => fs::remove_dir_all(&folder),
            _ => remove_all_but_logs(&folder),
        });
    }
}

/// Removes etcd's data, keys, kubeconfigs and all other files.
fn remove_all_but_logs(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        other => return ignore(ErrorKind::NotFound, other.map(drop)),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        // Supervisors remove files at the same time.
        if entry.file_type()?.is_dir() {
            remove_all_but_logs(&path)?;
            let removed = ignore(ErrorKind::DirectoryNotEmpty, fs::remove_dir(&path));
            ignore(ErrorKind::NotFound, removed)?;
        } else if !is_kept_by_cleanup(&path) {
            ignore(ErrorKind::NotFound, fs::remove_file(&path))?;
        }
    }
    Ok(())
}

fn ignore(kind: ErrorKind, result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == kind { Ok(()) } else { Err(error) })
}

/// Whether cleanup keeps a file: logs, and the lock, which the next cleanup needs.
fn is_kept_by_cleanup(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == LOCK)
        || path.extension().is_some_and(|extension| extension == "log" || extension == "jsonl")
}

/// The time since the last write to a file of the folder.
fn age(folder: &Path) -> Option<Duration> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let newest = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
    SystemTime::now().duration_since(newest).ok()
}
