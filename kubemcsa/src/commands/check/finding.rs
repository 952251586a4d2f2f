//! What is not as it should be.

use serde::Serialize;

use crate::cli::program;

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
            message: plain(&message.into()),
            mend: program::rename_commands(&mend).into_owned(),
        }
    }

    /// Something that is odd.
    pub fn warning(object: Subject, reason: &str, message: impl Into<String>, mend: String) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(object, reason, message, mend) }
    }
}

/// A message without what the HTTP client and its TLS say to programmers alone.
fn plain(message: &str) -> String {
    let mut plain = message.replace("ServiceError: ", "");
    // Of each, its cause follows.
    while let Some((start, length)) = find(&plain, "client error (", "): ") {
        plain.replace_range(start..start + length, "");
    }
    while let Some(start) = plain.find("https://docs.rs/") {
        let url = &plain[start..];
        let end = start + url.find(|c: char| c.is_whitespace() || ";,)".contains(c)).unwrap_or(url.len());
        let start = plain[..start].trim_end_matches([':', ' ']).len();
        plain.replace_range(start..end, "");
    }
    plain
}

/// Where the first part of a text is that begins and ends so, and how long it is.
fn find(text: &str, from: &str, to: &str) -> Option<(usize, usize)> {
    let start = text.find(from)?;
    let end = text[start..].find(to)?;
    Some((start, end + to.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::of_others("c2 says: no", "c2 says: no")]
    #[case::refused(
        "asking c2: ServiceError: client error (Connect): tcp connect error: Connection refused; is it up?",
        "asking c2: tcp connect error: Connection refused; is it up?"
    )]
    #[case::without_a_cause(
        "asking c2: ServiceError: client error (Connect)",
        "asking c2: client error (Connect)"
    )]
    #[case::ended(
        "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/#eof; is it up?",
        "peer closed connection without sending TLS close_notify; is it up?"
    )]
    #[case::at_its_end("eof: https://docs.rs/a https://docs.rs/b", "eof")]
    fn messages_are_for_people(#[case] message: &str, #[case] expected: &str) {
        assert_eq!(plain(message), expected);
    }
}
