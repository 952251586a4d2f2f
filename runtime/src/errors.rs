//! Errors as people read them.

use std::error::Error;
use std::io;

pub use rustls::CertificateError;

/// More of a message than this says nothing more.
const MESSAGE_MAX: usize = 800;

/// A message of someone else's, fit for a log line or a status: on one line, and not without end.
pub fn short(message: &str) -> String {
    let line = message.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty());
    let line = line.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// The error and its causes on one line, each said once, as many errors print their cause
/// themselves; of an API server's refusal, its message alone. An answer that could not be read is
/// not quoted: it may hold a token. As long as it is; see [`short`].
pub fn line(error: &(dyn Error + 'static)) -> String {
    if let Some(message) = causes(error).find_map(said_by_kube) {
        return message.replace('\n', " ");
    }
    let mut line = String::new();
    for cause in causes(error).map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}

/// Why the certificate of whoever answered is not accepted, if that is what went wrong.
pub fn certificate<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    std::iter::successors(Some(error), |&error| below(error)).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(problem)) => Some(problem),
        _ => None,
    })
}

/// What an I/O error was made of is not its cause, but it itself.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().map(|inner| inner as _),
        None => error.source(),
    }
}

/// The error, its cause, the cause of that, and so on.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// kube prints all fields of a refusal, and of an answer that it can't read whatever serde quotes.
fn said_by_kube(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref::<kube::Error>()? {
        kube::Error::Api(status) if !status.message.is_empty() => Some(status.message.clone()),
        kube::Error::SerdeError(_) => Some("the answer is not what Kubernetes would say".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{CertificateError, certificate, line, short};
    use anyhow::Context;

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let error =
            Err::<(), _>(anyhow::anyhow!("refused\nby peer")).context("c2: can't connect").unwrap_err();
        assert_eq!(line(error.as_ref()), "c2: can't connect: refused by peer");
        let error = Err::<(), _>(anyhow::anyhow!("refused")).context("can't connect: refused").unwrap_err();
        assert_eq!(line(error.as_ref()), "can't connect: refused");
    }

    #[test]
    fn a_certificate_is_found_wherever_it_is_in_an_error() {
        let tls = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = |error: rustls::Error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let nested = std::io::Error::other(io(tls()));
        for error in [kube::Error::Service(tls().into()), kube::Error::Service(nested.into())] {
            assert_eq!(certificate(&error), Some(&CertificateError::UnknownIssuer), "{error:?}");
        }
        let other = io(rustls::Error::DecryptError);
        assert_eq!(certificate(&kube::Error::Service(other.into())), None);
    }

    #[test]
    fn a_refusal_is_its_message() {
        let status = kube::core::Status::failure("quota exceeded", "Forbidden").with_code(403);
        assert_eq!(line(&kube::Error::Api(status.boxed())), "quota exceeded");
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_quoted() {
        let nonsense = serde_json::from_str::<u8>("\"t0ken\"").unwrap_err();
        assert!(!line(&kube::Error::SerdeError(nonsense)).contains("t0ken"));
    }

    #[test]
    fn a_message_is_one_line_and_not_without_end() {
        assert_eq!(short("a\nb\t c"), "a b c");
        assert!(short(&"ä".repeat(100_000)).chars().count() < 900);
    }
}
