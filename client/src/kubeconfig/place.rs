//! Where in a kubeconfig something is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// An entry of `contexts`.
    Context,
    /// An entry of `clusters`.
    Cluster,
    /// An entry of `users`.
    User,
}

/// A place in a kubeconfig: the file, and line and column from one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    file: Option<Arc<Path>>,
    at: Option<(u64, u64)>,
}

impl Place {
    pub(super) fn new(file: Option<Arc<Path>>, at: Option<(u64, u64)>) -> Self {
        Self { file, at }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The place with a colon, in the form of compilers. Empty if it is unknown.
    pub(super) fn prefix(&self) -> String {
        match (&self.file, self.at) {
            (Some(file), Some((line, column))) => format!("{}:{line}:{column}: ", describe_one(file)),
            (Some(file), None) => format!("{}: ", describe_one(file)),
            (None, Some((line, column))) => format!("line {line}, column {column}: "),
            (None, None) => String::new(),
        }
    }
}

impl EntryKind {
    /// The field of an entry that has its values.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Cluster => "cluster",
            Self::User => "user",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.key())
    }
}

/// Files for messages, in the form of `KUBECONFIG`.
pub fn describe(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| describe_one(path)).collect();
    format!("kubeconfig {}", paths.join(":"))
}

fn describe_one(path: &Path) -> String {
    let home = std::env::home_dir().map(|home| home.join(".kube").join("config"));
    if home.as_deref() == Some(path) { "~/.kube/config".to_owned() } else { path.display().to_string() }
}
