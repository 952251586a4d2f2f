//! Messages for kube's errors. They never contain the input or output of a credential plugin.

use std::error::Error as StdError;

use kube::client::{AuthError, RustlsTlsError};

/// An error of kube and its causes, in one line.
pub(crate) fn error_message(error: &(dyn StdError + 'static)) -> String {
    match find_cause(error) {
        // Its cause may quote the key.
        Some(kube::Error::RustlsTls(RustlsTlsError::InvalidIdentityPem(_))) => {
            "its client certificate or key is not PEM".into()
        }
        _ => find_cause::<AuthError>(error).map_or_else(|| line(error), credential_problem),
    }
}

/// Replaces an error that may quote a credential.
pub(crate) fn without_credential(error: kube::Error) -> kube::Error {
    match find_cause::<AuthError>(&error) {
        Some(problem) => kube::Error::Service(credential_problem(problem).into()),
        None => error,
    }
}

/// The error or cause of this type, if there is one.
pub(crate) fn find_cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn credential_problem(problem: &AuthError) -> String {
    match problem {
        AuthError::AuthExecRun { out, .. } => format!("its credential plugin failed: {}", out.status),
        AuthError::AuthExecStart(error) => format!("its credential plugin can't be started: {error}"),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "its credential plugin did not print an ExecCredential with a status".into()
        }
        AuthError::MissingCommand => "its credential plugin has no command".into(),
        AuthError::ReadTokenFile(error, path) => format!("can't read its token {}: {error}", path.display()),
        _ => "its credential can't be loaded".into(),
    }
}

/// The error with its causes. Some errors repeat their cause.
fn line(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !line.contains(&message) {
            line = format!("{line}: {message}");
        }
        cause = error.source();
    }
    line
}
