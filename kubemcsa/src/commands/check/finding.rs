//! A finding: a problem or a warning about an object.

use serde::Serialize;

use crate::cli::program;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) object: Subject,
    /// One word, like the reason of a condition.
    pub(crate) reason: String,
    /// What is wrong.
    pub(crate) message: String,
    /// The command that fixes it, or that shows what to fix.
    pub(crate) fix: String,
}

/// In the order in which findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Severity {
    /// Something does not work, or soon will not.
    Problem,
    /// Something is unusual, or could not be checked.
    Warning,
}

/// The object of the target that a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subject {
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Subject {
    pub(crate) fn namespaced(kind: &str, namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::cluster_scoped(kind, name) }
    }

    pub(crate) fn cluster_scoped(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: None, name: name.to_owned() }
    }
}

impl Finding {
    pub(crate) fn problem(object: Subject, reason: &str, message: impl Into<String>, fix: String) -> Self {
        Self {
            severity: Severity::Problem,
            object,
            reason: reason.to_owned(),
            message: program::rename_commands(&without_internals(&message.into())).into_owned(),
            fix: program::rename_commands(&fix).into_owned(),
        }
    }

    pub(crate) fn warning(object: Subject, reason: &str, message: impl Into<String>, fix: String) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(object, reason, message, fix) }
    }
}

/// Removes details of our HTTP client and TLS stack, which don't help users.
fn without_internals(message: &str) -> String {
    let mut text = message.replace("ServiceError: ", "");
    // The cause follows the colon.
    while let Some((start, length)) = find(&text, "client error (", "): ") {
        text.replace_range(start..start + length, "");
    }
    while let Some(start) = text.find("https://docs.rs/") {
        let url = &text[start..];
        let end = start + url.find(|c: char| c.is_whitespace() || ";,)".contains(c)).unwrap_or(url.len());
        let start = text[..start].trim_end_matches([':', ' ']).len();
        text.replace_range(start..end, "");
    }
    text
}

/// Start and length of the first part of a text that begins with `from` and ends with `to`.
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
    #[case::unchanged("c2 says: no", "c2 says: no")]
    #[case::http_client(
        "asking c2: ServiceError: client error (Connect): tcp connect error: Connection refused; is it up?",
        "asking c2: tcp connect error: Connection refused; is it up?"
    )]
    #[case::http_client_without_cause(
        "asking c2: ServiceError: client error (Connect)",
        "asking c2: client error (Connect)"
    )]
    #[case::link_to_documentation(
        "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/#eof; is it up?",
        "peer closed connection without sending TLS close_notify; is it up?"
    )]
    #[case::links_at_the_end("eof: https://docs.rs/a https://docs.rs/b", "eof")]
    fn internals_are_removed(#[case] message: &str, #[case] expected: &str) {
        assert_eq!(without_internals(message), expected);
    }
}
