//! Contexts of a kubeconfig.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::Config;

use crate::error::ConfigError;
use crate::kubeconfig::{Files, Kubeconfig, Policy, Problem};
use crate::live::LiveConfig;

/// The parsed files that are in use, so that 300 contexts of a file don't parse it 300 times.
static PARSED: LazyLock<Mutex<HashMap<Files, Weak<Parsed>>>> = LazyLock::new(Mutex::default);

/// The contexts of a kubeconfig. Clones are cheap, and share the parsed files.
#[derive(Clone)]
pub struct Contexts {
    files: Files,
    parsed: Arc<Parsed>,
}

/// The latest parsed files.
#[derive(Default)]
struct Parsed(Mutex<Option<Read>>);

/// Files that were read.
struct Read {
    /// `None`: the file was missing.
    stamps: Vec<Option<Stamp>>,
    kubeconfig: Arc<Kubeconfig>,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    size: u64,
    /// On Unix, the inode, and the time of its last change in seconds and nanoseconds.
    inode: Option<(u64, i64, i64)>,
}

impl Contexts {
    /// The contexts of the files that `KUBECONFIG` names, or of `~/.kube/config`.
    pub fn from_env() -> Self {
        Self::new(Files::from_env())
    }

    /// The contexts of one file.
    pub fn from_file(file: impl Into<PathBuf>) -> Self {
        Self::new(Files::from_file(file))
    }

    fn new(files: Files) -> Self {
        let mut all = PARSED.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, parsed| parsed.strong_count() > 0);
        let parsed = all.get(&files).and_then(Weak::upgrade).unwrap_or_default();
        all.insert(files.clone(), Arc::downgrade(&parsed));
        Self { files, parsed }
    }

    /// Like [`super::context()`], from this kubeconfig.
    ///
    /// # Errors
    /// As for [`super::context()`].
    pub fn context(&self, name: Option<&str>) -> Result<LiveConfig, ConfigError> {
        let description = name.map_or("the current context".into(), |name| format!("context {name}"));
        let (contexts, name) = (self.clone(), name.map(str::to_owned));
        LiveConfig::from_files(description, move || contexts.read(name.as_deref()))
    }

    /// Like [`super::contexts`], from this kubeconfig.
    ///
    /// # Errors
    /// As for [`super::contexts`].
    pub fn contexts(&self) -> Result<BTreeMap<String, LiveConfig>, ConfigError> {
        self.names()?.into_iter().map(|name| self.context(Some(&name)).map(|config| (name, config))).collect()
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, ConfigError> {
        let kubeconfig = self.kubeconfig().map_err(|problem| ConfigError::context(None, &problem))?;
        Ok(kubeconfig.contexts().map(|entry| entry.name().to_owned()).collect())
    }

    fn read(&self, context: Option<&str>) -> Result<Config, ConfigError> {
        let read = self.kubeconfig().and_then(|kubeconfig| kubeconfig.context(context, Policy::OwnFiles));
        read.map(|context| context.config).map_err(|problem| ConfigError::context(context, &problem))
    }

    /// The parsed files. Parses them only if they have changed.
    fn kubeconfig(&self) -> Result<Arc<Kubeconfig>, Problem> {
        let mut parsed = self.parsed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps: Vec<_> = self.files.paths().iter().map(stamp).collect();
        if let Some(read) = parsed.as_ref().filter(|read| read.stamps == stamps) {
            return Ok(read.kubeconfig.clone());
        }
        *parsed = None;
        let kubeconfig = Arc::new(self.files.read()?);
        if stamps.iter().flatten().all(|stamp| is_final(stamp.modified, SystemTime::now())) {
            *parsed = Some(Read { stamps, kubeconfig: kubeconfig.clone() });
        }
        Ok(kubeconfig)
    }
}

/// `None`: the file is missing.
fn stamp(path: &PathBuf) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    // A pipe can be read only once.
    if !metadata.is_file() {
        return Some(Stamp { modified: UNIX_EPOCH, size: 0, inode: None });
    }
    Some(Stamp { modified: metadata.modified().ok()?, size: metadata.len(), inode: inode(&metadata) })
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<(u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<(u64, i64, i64)> {
    None
}

/// Whether a later write would have another time: not before the clock of the file system has advanced.
fn is_final(modified: SystemTime, now: SystemTime) -> bool {
    let has_fraction = modified.duration_since(UNIX_EPOCH).is_ok_and(|time| time.subsec_nanos() != 0);
    // Linux takes the time of its last tick. Without a fraction, the file system may store only even seconds, as FAT
    // does.
    let resolution = if has_fraction { Duration::from_millis(50) } else { Duration::from_secs(2) };
    now.duration_since(modified).is_ok_and(|age| age > resolution)
}

impl fmt::Debug for Contexts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Contexts").field(&self.files).finish()
    }
}

impl PartialEq for Contexts {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Eq for Contexts {}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::same_tick(1_500, 1_510, false)]
    #[case::next_tick(1_500, 1_600, true)]
    #[case::whole_seconds(1_000, 2_900, false)]
    #[case::two_seconds_later(1_000, 3_100, true)]
    #[case::clock_went_back(1_500, 1_000, false)]
    fn parsed_file_is_kept_once_a_later_write_would_show(
        #[case] modified: u64,
        #[case] now: u64,
        #[case] expected: bool,
    ) {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(is_final(at(modified), at(now)), expected);
    }

    #[cfg(unix)]
    #[test]
    fn replaced_file_with_the_same_time_and_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, context: &str| {
            let path = folder.path().join(file);
            std::fs::write(&path, format!("contexts: [{{name: {context}}}]")).unwrap();
            let opened = std::fs::File::options().write(true).open(&path).unwrap();
            opened.set_modified(UNIX_EPOCH + Duration::from_secs(1000)).unwrap();
            path
        };
        let path = write("config", "a");
        let contexts = Contexts::from_file(&path);
        assert_eq!(contexts.names().unwrap(), ["a"]);
        std::fs::rename(write("new", "b"), &path).unwrap();
        assert_eq!(contexts.names().unwrap(), ["b"]);
    }
}
