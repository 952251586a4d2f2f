//! The folder of one cluster: while it lives, all that it needs; then its logs, for an hour.
//!
//! Logs stay whatever came of the test: a cluster is dropped before anyone knows, as most tests fail
//! by returning an error, and nothing tells a destructor of that. So a test names the folder when it
//! starts the cluster, which is also the only time for clusters that are never dropped. Any other
//! program, as the quickstart, has a story of its own to tell: there it is named after a panic only.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;

use crate::programs::is_test;
use crate::{cache, note};

/// How long the logs of a cluster that is gone stay.
const RETENTION: Duration = Duration::from_secs(3600);

/// Locked while the cluster lives, so that no other process sweeps its folder.
const LOCK: &str = "lock";

/// Left in a folder that is to outlive its process.
const KEPT: &str = "kept";

/// A folder that is locked while the process that made it lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    handed_over: bool,
    _lock: File,
}

impl Folder {
    /// Makes the folder of a cluster, and sweeps those of clusters that are gone.
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
        let lock = cache::lock_file(&path.join(LOCK))?;
        // Waits for whoever takes it for abandoned at this very moment, and finds nothing to sweep.
        lock.lock().with_context(|| format!("locking {}", path.display()))?;
        if is_test() {
            // The harness names threads after their tests.
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            note(format_args!("{test}: {cluster} logs to {}", path.display()));
        }
        Ok(Self { path, handed_over: false, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Leaves the folder to whoever stops the cluster; it is never swept.
    pub(crate) fn hand_over(&mut self) -> anyhow::Result<PathBuf> {
        self.handed_over = true;
        fs::write(self.join(KEPT), "")?;
        Ok(self.path.clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        if let Err(error) = leave_logs(&self.path) {
            note(format_args!("emptying {}: {error}", self.path.display()));
        }
        if std::thread::panicking() && !is_test() {
            note(format_args!("the logs are in {}", self.path.display()));
        }
    }
}

/// What is left of clusters that are gone: their logs stay for an hour, all else goes at once.
fn sweep(clusters: &Path) {
    for entry in fs::read_dir(clusters).into_iter().flatten().flatten() {
        let folder = entry.path();
        if folder.join(KEPT).exists() {
            continue;
        }
        // Without a lock file it is about to be made, or already on its way out.
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        // An error means that something in it is still being written; the next sweep comes.
        drop(match age(&folder) {
            Some(age) if age > RETENTION => fs::remove_dir_all(&folder),
            _ => leave_logs(&folder),
        });
    }
}

/// Removes etcd's data, which is many times the size of the logs, keys, kubeconfigs, and what else
/// was put there.
fn leave_logs(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        other => return ignore(ErrorKind::NotFound, other.map(drop)),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        // Supervisors remove, too.
        if entry.file_type()?.is_dir() {
            leave_logs(&path)?;
            let removed = ignore(ErrorKind::DirectoryNotEmpty, fs::remove_dir(&path));
            ignore(ErrorKind::NotFound, removed)?;
        } else if !is_log(&path) {
            ignore(ErrorKind::NotFound, fs::remove_file(&path))?;
        }
    }
    Ok(())
}

fn ignore(kind: ErrorKind, result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == kind { Ok(()) } else { Err(error) })
}

/// The lock is kept for the sweep.
fn is_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == LOCK)
        || path.extension().is_some_and(|extension| extension == "log" || extension == "jsonl")
}

/// The time since anything in it was last written.
fn age(folder: &Path) -> Option<Duration> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let newest = entries.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
    SystemTime::now().duration_since(newest).ok()
}
