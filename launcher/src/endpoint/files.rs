//! Reads files of certificates and keys.

use std::path::{Path, PathBuf};

/// Largest file, in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// A file can't be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read {}: {problem}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    problem: String,
}

pub(super) fn read(path: &Path) -> Result<String, FileError> {
    let error = |problem: String| FileError { path: path.to_owned(), problem };
    let length = std::fs::metadata(path).map_err(|cause| error(cause.to_string()))?.len();
    if length > MAX_LENGTH {
        return Err(error("too large for a certificate".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|cause| error(cause.to_string()))
}
