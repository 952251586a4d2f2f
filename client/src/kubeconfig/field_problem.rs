//! What is wrong with an entry of a kubeconfig. No message quotes a value, because it may be a credential.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::place::EntryKind;
use super::proxy::ProxyError;

/// The field of a kubeconfig that disables the verification of certificates.
pub(crate) const INSECURE: &str = "insecure-skip-tls-verify";

/// The longest path that a message shows. Tokens are longer.
const MAX_PATH: usize = 256;

/// The most names that a message lists.
const MAX_NAMES: usize = 10;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// A field has another type than kubectl expects.
    #[error("{field} is not {expected}: correct it")]
    WrongType {
        /// The path of the field.
        field: String,
        /// The expected type.
        expected: &'static str,
    },
    /// The context names a cluster or user that does not exist.
    #[error("its {0} {1} does not exist: add it, or choose another context")]
    Missing(EntryKind, String),
    /// A field is empty.
    #[error("it has no {0}: set it, or choose another context")]
    Empty(&'static str),
    /// The server is not a URL.
    #[error("server is not a URL with a host: correct it")]
    InvalidServer,
    /// The name to expect in the certificate is no name.
    #[error("tls-server-name is neither a DNS name nor an IP address: correct it")]
    InvalidServerName,
    /// The server's URL has a user or password.
    #[error("server has a user or password in its URL: set username and password of the user instead")]
    ServerWithUser,
    /// The server is not an https URL, and the credential is a token.
    #[error("server does not begin with https://, which tokens require")]
    NotHttps,
    /// A field would run a command, read a file, or skip the verification.
    #[error("it has {}, which is not allowed here: {}", .0, alternative(.0))]
    Refused(&'static str),
    /// `kubectl config view` left the value out.
    #[error("{0} was left out by kubectl config view: run it with --raw")]
    Omitted(&'static str),
    /// The value is not base64-encoded PEM.
    #[error("{0} is not a base64-encoded PEM bundle: copy it from kubectl config view --raw")]
    NotPem(&'static str),
    /// The value was encoded twice.
    #[error("{0} is a PEM bundle that was base64-encoded twice: encode it only once")]
    EncodedTwice(&'static str),
    /// No certificate of the bundle can be read.
    #[error("{field} has no readable certificate: {} can't be read", certificates(unreadable))]
    Certificates {
        /// The field.
        field: &'static str,
        /// The numbers of the certificates in the bundle, from one. Empty: it has none.
        unreadable: Vec<usize>,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("it has {0}, but no {1}: set both")]
    Half(&'static str, &'static str),
    /// A client certificate and its key can't be used.
    #[error("{certificate} and {key} can't be used: {problem}")]
    Identity {
        /// The field with the certificate.
        certificate: &'static str,
        /// The field with the key.
        key: &'static str,
        /// What is wrong with them.
        problem: IdentityProblem,
    },
    /// Two credentials, of which a user may have only one.
    #[error("it has both {0} and {1}: remove one of them")]
    Both(&'static str, &'static str),
    /// A field that has no effect without another one.
    #[error("it has {0}, which requires {1}: set both, or none")]
    Requires(&'static str, &'static str),
    /// kubectl has removed the auth provider.
    #[error("auth-provider {name} was removed from Kubernetes: use {instead} instead")]
    AuthProvider {
        /// Its name.
        name: String,
        /// What to use instead.
        instead: &'static str,
    },
    /// There is no valid ID token.
    #[error(
        "the id-token of auth-provider oidc {0}: run kubectl get namespaces with this context, which renews it in the \
         kubeconfig"
    )]
    IdToken(&'static str),
    /// A file of the entry can't be read.
    #[error("can't read {field} {}: {error}", printable(path))]
    Unreadable {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// The error.
        error: Io,
    },
    /// The token file is empty.
    #[error("tokenFile {} is empty: wait until the token was written, or log in again", printable(.0))]
    EmptyTokenFile(PathBuf),
    /// A token or a name can't be sent in a header.
    #[error("{0} has a line break or another invalid character in it: remove it")]
    InvalidCharacters(&'static str),
    /// The proxy can't be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// What is wrong with a client certificate and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityProblem {
    /// There is no PEM block `CERTIFICATE`.
    #[error("no readable certificate in the first one")]
    NoCertificate,
    /// There is no PEM block of a key.
    #[error("no readable private key in the second one")]
    NoKey,
    /// They can't be parsed, or don't belong together.
    #[error("the key is not that of the certificate")]
    Mismatch,
}

/// A comparable [`io::Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Io {
    /// Its kind.
    pub kind: io::ErrorKind,
    message: String,
}

impl From<io::Error> for Io {
    fn from(error: io::Error) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

impl From<Io> for io::Error {
    fn from(error: Io) -> Self {
        Self::new(error.kind, error.message)
    }
}

impl fmt::Display for Io {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// A path for messages. A token or a key that was pasted in its place is not shown.
fn printable(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_path = text.len() <= MAX_PATH && !text.contains(char::is_control) && !text.contains("-----");
    if is_path { text.into_owned() } else { "(which does not look like a path)".to_owned() }
}

/// What to do instead of setting a refused field.
pub fn alternative(field: &str) -> &'static str {
    match field {
        INSECURE => "set certificate-authority-data instead",
        "exec" | "auth-provider" => "use a token or a client certificate instead",
        _ => "inline the data",
    }
}

/// The first names, and how many more there are.
pub fn list(names: &[String]) -> String {
    let first = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Certificates, by their numbers in a bundle.
pub(crate) fn certificates(numbers: &[usize]) -> String {
    match numbers {
        [] => "a PEM block CERTIFICATE".into(),
        [number] => format!("certificate {number}"),
        numbers => {
            format!("certificates {}", list(&numbers.iter().map(ToString::to_string).collect::<Vec<_>>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_are_shown() {
        assert_eq!(printable(Path::new("/home/me/my keys/c2.pem")), "/home/me/my keys/c2.pem");
        for text in ["-----BEGIN PRIVATE KEY----- t0ken", "t0\nken", &"t0ken".repeat(60)] {
            assert!(!printable(Path::new(text)).contains("t0"), "{text}");
        }
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        let names: Vec<_> = (1..=12).map(|number| format!("c{number}")).collect();
        assert_eq!(list(&names), "c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 and 2 more");
        assert_eq!(list(&names[..2]), "c1, c2");
    }
}
