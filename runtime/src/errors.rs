//! Formats errors for logs, statuses and the terminal.

use std::error::Error;
use std::io;

pub use rustls::CertificateError;

pub use self::redact::{REDACTED, redacted};

pub mod foreign;
mod redact;

/// Longest message, in characters.
const MESSAGE_MAX: usize = 800;

/// Makes a message from elsewhere fit into a log line or a status: one line of at most 800 characters, without tokens.
pub fn short(message: &str) -> String {
    let message = redacted(message);
    let line = message.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty());
    let line = line.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Formats an error and its causes on one line of any length. Omits causes that the line already contains, because
/// many errors print their own cause. For an API server's error, prints only the message. Does not quote tokens, a
/// response that can't be parsed, because it may contain a token, or one that no API server sent.
pub fn line(error: &(dyn Error + 'static)) -> String {
    if let Some(response) = foreign::foreign_response(error) {
        return response.to_string();
    }
    if let Some(message) = causes(error).find_map(kube_message) {
        return redacted(&message.replace('\n', " "));
    }
    let mut line = String::new();
    for cause in causes(error).map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    redacted(&line.replace('\n', " "))
}

/// Why the server's certificate was rejected, if that caused the error.
pub fn certificate_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    std::iter::successors(Some(error), |&error| inner(error)).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(problem)) => Some(problem),
        _ => None,
    })
}

/// Whether a proxy on the way rejects the credentials in its URL, or requires some.
pub fn is_proxy_refusal(error: &(dyn Error + 'static)) -> bool {
    // hyper-util does not export the types of these errors.
    const REFUSALS: [&str; 3] = [
        "proxy authorization required",
        "server does not support user/pass authentication",
        "credentials not accepted",
    ];
    causes(error).any(|cause| {
        let message = cause.to_string();
        REFUSALS.iter().any(|refusal| message.contains(refusal))
    })
}

/// The error that an I/O error wraps, which its `source` skips; otherwise the source.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().map(|inner| inner as _),
        None => error.source(),
    }
}

/// The error and its chain of sources.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Replaces the output of kube's own errors, which print all fields of a status, and parts of an invalid response.
fn kube_message(error: &(dyn Error + 'static)) -> Option<String> {
    match error.downcast_ref::<kube::Error>()? {
        kube::Error::Api(status) if !status.message.is_empty() => Some(status.message.clone()),
        kube::Error::SerdeError(_) => Some("invalid response from the API server".into()),
        // kube prints the URL, which may contain a password.
        kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
            Some("the proxy must have an http://, https:// or socks5:// URL".into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{CertificateError, certificate_error, is_proxy_refusal, line, short};
    use anyhow::Context;

    #[test]
    fn causes_are_printed_once_and_on_one_line() {
        let error =
            Err::<(), _>(anyhow::anyhow!("refused\nby peer")).context("c2: can't connect").unwrap_err();
        assert_eq!(line(error.as_ref()), "c2: can't connect: refused by peer");
        let error = Err::<(), _>(anyhow::anyhow!("refused")).context("can't connect: refused").unwrap_err();
        assert_eq!(line(error.as_ref()), "can't connect: refused");
    }

    #[test]
    fn certificate_error_is_found_at_any_depth() {
        let tls = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = |error: rustls::Error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let nested = std::io::Error::other(io(tls()));
        for error in [kube::Error::Service(tls().into()), kube::Error::Service(nested.into())] {
            assert_eq!(certificate_error(&error), Some(&CertificateError::UnknownIssuer), "{error:?}");
        }
        let other = io(rustls::Error::DecryptError);
        assert_eq!(certificate_error(&kube::Error::Service(other.into())), None);
    }

    #[test]
    fn api_error_is_reduced_to_its_message() {
        let status = kube::core::Status::failure("quota exceeded", "Forbidden").with_code(403);
        assert_eq!(line(&kube::Error::Api(status.boxed())), "quota exceeded");
    }

    #[test]
    fn token_in_a_message_is_not_quoted() {
        let message =
            "admission webhook \"x\" denied the request: token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
        let expected = "admission webhook \"x\" denied the request: token [redacted]";
        assert_eq!(short(message), expected);
        let status = kube::core::Status::failure(message, "Forbidden").with_code(403);
        assert_eq!(line(&kube::Error::Api(status.boxed())), expected);
        assert_eq!(line(anyhow::anyhow!(message).as_ref()), expected);
    }

    #[test]
    fn invalid_response_is_not_quoted() {
        let invalid = serde_json::from_str::<u8>("\"t0ken\"").unwrap_err();
        assert!(!line(&kube::Error::SerdeError(invalid)).contains("t0ken"));
    }

    #[test]
    fn refusal_of_a_proxy_is_recognized() {
        let error = |message: &str| kube::Error::Service(std::io::Error::other(message.to_owned()).into());
        assert!(is_proxy_refusal(&error("tunnel error: proxy authorization required")));
        assert!(!is_proxy_refusal(&error("tunnel error: unsuccessful")));
    }

    #[test]
    fn proxy_is_not_quoted() {
        let proxy_url = Box::new(http::Uri::from_static("ftp://me:s3cret@proxy"));
        assert!(!line(&kube::Error::ProxyProtocolUnsupported { proxy_url }).contains("s3cret"));
    }

    #[test]
    fn message_becomes_one_short_line() {
        assert_eq!(short("a\nb\t c"), "a b c");
        assert!(short(&"ä".repeat(100_000)).chars().count() < 900);
    }
}
