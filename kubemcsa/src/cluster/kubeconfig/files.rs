//! Finds and merges kubeconfig files as kubectl does.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::config::{Kubeconfig, KubeconfigError};

use super::Problem;

/// The file that a flag names, or those of `KUBECONFIG`, or the one in the home directory.
pub(crate) fn paths(file: Option<&Path>) -> Vec<PathBuf> {
    if let Some(file) = file {
        return vec![file.to_owned()];
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<_> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() { default_path().into_iter().collect() } else { listed }
}

/// Merges the files; of two entries with the same name, the first wins. Skips missing files unless all are missing.
pub(crate) fn read(paths: &[PathBuf], flags: &str) -> Result<Kubeconfig, (Vec<PathBuf>, Problem)> {
    let mut merged = None;
    for path in paths {
        let failed = |problem| (vec![path.clone()], problem);
        let mut read = match Kubeconfig::read_from(path) {
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound => continue,
            read => read.map_err(|error| failed(explain(error)))?,
        };
        // `kubectl config unset current-context` writes an empty name.
        read.current_context = read.current_context.filter(|name| !name.is_empty());
        merged = Some(match merged {
            None => read,
            Some(merged) => Kubeconfig::merge(merged, read).map_err(|error| failed(explain(error)))?,
        });
    }
    merged.ok_or_else(|| (paths.to_vec(), Problem::NotFound { flag: format!("{flags}kubeconfig") }))
}

/// The files, for messages.
pub(crate) fn describe(paths: &[PathBuf]) -> String {
    let home = default_path();
    let title = |path: &PathBuf| match &home {
        Some(home) if home == path => "~/.kube/config".to_owned(),
        _ => path.display().to_string(),
    };
    let titles: Vec<_> = paths.iter().map(title).collect();
    format!("kubeconfig {}", titles.join(":"))
}

fn default_path() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".kube").join("config"))
}

fn explain(error: KubeconfigError) -> Problem {
    match error {
        KubeconfigError::ReadConfig(error, _) => Problem::Unreadable(error.to_string()),
        KubeconfigError::Parse(_) => Problem::NotAKubeconfig,
        other => Problem::Unreadable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_are_listed() {
        let paths = [PathBuf::from("/nowhere/a"), PathBuf::from("/nowhere/b")];
        let (missing, problem) = read(&paths, "--source-").unwrap_err();
        assert_eq!(describe(&missing), "kubeconfig /nowhere/a:/nowhere/b");
        assert!(problem.to_string().contains("--source-kubeconfig"), "{problem}");
    }
}
