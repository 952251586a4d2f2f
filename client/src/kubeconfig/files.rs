//! Finds and reads kubeconfig files as kubectl does.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::document::{Kubeconfig, Limits};
use super::problem::Problem;

/// The files of a kubeconfig, which are merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Files(Vec<PathBuf>);

impl Files {
    /// The files that `KUBECONFIG` names, or `~/.kube/config`.
    pub fn from_env() -> Self {
        let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let listed = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty());
        let mut files: Vec<_> = listed.collect();
        if files.is_empty() {
            files.extend(default_file());
        }
        Self(files)
    }

    /// One file.
    pub fn from_file(file: impl Into<PathBuf>) -> Self {
        Self(vec![file.into()])
    }

    /// The paths.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Reads and merges the files. Skips missing ones, unless all are missing.
    ///
    /// # Errors
    /// If a file can't be read or is not a kubeconfig.
    pub fn read(&self) -> Result<Kubeconfig, Problem> {
        let mut merged: Option<Kubeconfig> = None;
        for path in &self.0 {
            let bytes = match std::fs::read(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Problem::Unreadable { path: path.clone(), error: error.into() }),
                Ok(bytes) => bytes,
            };
            // A relative name would be resolved again after a change of the working directory.
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let read = Kubeconfig::parse(&bytes, Some(&absolute), Limits::OwnFile)?;
            match &mut merged {
                Some(merged) => merged.merge(read),
                None => merged = Some(read),
            }
        }
        let mut merged = merged.ok_or_else(|| Problem::NotFound(self.0.clone()))?;
        merged.files.clone_from(&self.0);
        Ok(merged)
    }
}

/// The kubeconfig in the home directory.
pub(super) fn default_file() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".kube").join("config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_are_skipped_unless_all_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "current-context: c2").unwrap();
        let missing = folder.path().join("missing");
        let read = Files(vec![missing.clone(), file]).read();
        assert_eq!(read.map_err(|problem| problem.to_string()).unwrap().current_context(), Some("c2"));
        assert_eq!(Files(vec![missing.clone()]).read().err(), Some(Problem::NotFound(vec![missing])));
    }
}
