//! What is not as it should be.

use serde::Serialize;

use crate::program;

/// One thing that is wrong, and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub object: Subject,
    /// One word, as conditions have it.
    pub reason: String,
    /// What is wrong, for people.
    pub message: String,
    /// The command that mends it, or that shows what to mend.
    pub mend: String,
}

/// How bad something is. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// Something does not work, or soon will not.
    Problem,
    /// Something is odd, or could not be looked at.
    Warning,
}

/// An object of the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Its kind.
    pub kind: String,
    /// Its namespace, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Subject {
    /// The object of this kind and name in a namespace.
    pub fn namespaced(kind: &str, namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::global(kind, name) }
    }

    /// The object of this kind and name in no namespace.
    pub fn global(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: None, name: name.to_owned() }
    }
}

impl Finding {
    /// Something that does not work.
    pub fn problem(object: Subject, reason: &str, message: impl Into<String>, mend: String) -> Self {
        Self {
            severity: Severity::Problem,
            object,
            reason: reason.to_owned(),
            message: message.into(),
            mend: program::as_called(&mend).into_owned(),
        }
    }

    /// Something that is odd.
    pub fn warning(object: Subject, reason: &str, message: impl Into<String>, mend: String) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(object, reason, message, mend) }
    }
}
