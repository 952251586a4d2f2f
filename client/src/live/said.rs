//! Messages for kube's errors. They never contain the input or output of a credential plugin.

use std::error::Error as StdError;

use kube::client::AuthError;

/// The error and its causes, in one line.
pub(crate) fn said(error: &kube::Error) -> String {
    find::<AuthError>(error).map_or_else(|| line(error), of_credential)
}

/// Replaces an error that may contain a credential.
pub(crate) fn without_credential(error: kube::Error) -> kube::Error {
    match find::<AuthError>(&error) {
        Some(problem) => kube::Error::Service(of_credential(problem).into()),
        None => error,
    }
}

/// The error or cause of this type, if there is one.
pub(crate) fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn of_credential(problem: &AuthError) -> String {
    match problem {
        AuthError::AuthExecRun { out, .. } => format!("its credential plugin failed: {}", out.status),
        AuthError::AuthExecStart(error) => format!("its credential plugin can't be started: {error}"),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => {
            "its credential plugin printed no ExecCredential with a status".into()
        }
        AuthError::MissingCommand => "its credential plugin has no command".into(),
        AuthError::ReadTokenFile(error, path) => format!("can't read its token {}: {error}", path.display()),
        _ => "its credential can't be had, or can't be used".into(),
    }
}

/// The error with its causes. Some repeat their cause.
fn line(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.contains(&said) {
            line = format!("{line}: {said}");
        }
        cause = error.source();
    }
    line
}
