//! What is wrong with a kubeconfig. No message quotes a value, because it may be a credential.

use std::path::PathBuf;

use super::field_problem::{FieldProblem, Io, list};
use super::place::{EntryKind, Place, describe};

/// Why a kubeconfig, or the context in use, can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// None of the files exists.
    #[error("{} not found", describe(.0))]
    NotFound(Vec<PathBuf>),
    /// A file can't be read.
    #[error("can't read {}: {error}", describe(std::slice::from_ref(path)))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error.
        error: Io,
    },
    /// The text is not YAML, or its sections are not lists.
    #[error("{}it is not a kubeconfig: correct the YAML here", .0.prefix())]
    NotAKubeconfig(Place),
    /// The text is not UTF-8, nor UTF-16 with a byte order mark.
    #[error("{}it is not UTF-8 text", .0.prefix())]
    NotText(Place),
    /// It exceeds the limits for data of others.
    #[error("{}it is too large or too deeply nested for a kubeconfig", .0.prefix())]
    TooComplex(Place),
    /// There are no contexts.
    #[error("{} has no contexts", kubeconfig(.0))]
    NoContexts(Vec<PathBuf>),
    /// No context was named, and there is no current context.
    #[error("{} has no current context: name one of its contexts, {}", kubeconfig(files), list(contexts))]
    NoCurrentContext {
        /// The files.
        files: Vec<PathBuf>,
        /// The names of its contexts.
        contexts: Vec<String>,
    },
    /// The context does not exist.
    #[error("{} has no context {context:?}; its contexts are {}", kubeconfig(files), list(contexts))]
    NoSuchContext {
        /// The files.
        files: Vec<PathBuf>,
        /// The name.
        context: String,
        /// The names of those that exist.
        contexts: Vec<String>,
    },
    /// An entry can't be used.
    #[error(transparent)]
    Entry(Box<EntryProblem>),
}

/// Why an entry can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind} {name}: {problem}", place.prefix())]
pub struct EntryProblem {
    /// The entry's file and line.
    pub place: Place,
    /// Its kind.
    pub kind: EntryKind,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

impl Problem {
    /// The problem of a field, if it is one.
    pub fn field(&self) -> Option<&FieldProblem> {
        if let Self::Entry(entry) = self { Some(&entry.problem) } else { None }
    }
}

/// The kubeconfig as the subject of a message.
fn kubeconfig(files: &[PathBuf]) -> String {
    if files.is_empty() { "it".into() } else { describe(files) }
}
