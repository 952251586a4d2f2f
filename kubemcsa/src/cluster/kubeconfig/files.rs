//! Which files a kubeconfig is read from, and what they are together, as kubectl has it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::config::{Kubeconfig, KubeconfigError};

use super::Problem;

/// The one that a flag names, else those that `KUBECONFIG` names, else the one in the home folder.
pub fn paths(file: Option<&Path>) -> Vec<PathBuf> {
    if let Some(file) = file {
        return vec![file.to_owned()];
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<_> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() { at_home().into_iter().collect() } else { listed }
}

/// What is in all of them: of two things of one name, the first. One that is not there is left out, as
/// long as another is.
///
/// # Errors
/// When none is there, or one can't be read; which one, and why.
pub fn read(paths: &[PathBuf], flags: &str) -> Result<Kubeconfig, (Vec<PathBuf>, Problem)> {
    let mut merged = None;
    for path in paths {
        let failed = |problem| (vec![path.clone()], problem);
        let mut read = match Kubeconfig::read_from(path) {
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound => continue,
            read => read.map_err(|error| failed(unread(error)))?,
        };
        // Written by `kubectl config unset current-context`, it is none.
        read.current_context = read.current_context.filter(|name| !name.is_empty());
        merged = Some(match merged {
            None => read,
            Some(merged) => Kubeconfig::merge(merged, read).map_err(|error| failed(unread(error)))?,
        });
    }
    merged.ok_or_else(|| (paths.to_vec(), Problem::NotThere { flag: format!("{flags}kubeconfig") }))
}

/// Files as people call them.
pub fn titled(paths: &[PathBuf]) -> String {
    let home = at_home();
    let title = |path: &PathBuf| match &home {
        Some(home) if home == path => "~/.kube/config".to_owned(),
        _ => path.display().to_string(),
    };
    let titles: Vec<_> = paths.iter().map(title).collect();
    format!("kubeconfig {}", titles.join(":"))
}

fn at_home() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".kube").join("config"))
}

fn unread(error: KubeconfigError) -> Problem {
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
    fn none_of_them() {
        let paths = [PathBuf::from("/nowhere/a"), PathBuf::from("/nowhere/b")];
        let (which, problem) = read(&paths, "--source-").unwrap_err();
        assert_eq!(titled(&which), "kubeconfig /nowhere/a:/nowhere/b");
        assert!(problem.to_string().contains("--source-kubeconfig"), "{problem}");
    }
}
