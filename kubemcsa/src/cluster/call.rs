//! Calls that did not work: which cluster, what was tried, and the mend.

use std::io;
use std::time::Duration;

use kube::client::{AuthError, RustlsTlsError};
use kube::config::{AuthInfo, ExecConfig};
use mcsa_runtime::errors;

/// How long one call may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A call that did not work.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", call.cluster, self.explain())]
pub struct CallError {
    call: Box<Call>,
    problem: Problem,
}

/// What was tried.
#[derive(Debug)]
pub struct Call {
    /// The cluster's name.
    pub cluster: String,
    /// URL of its API server.
    pub address: String,
    /// As whom, such as `context c1`.
    pub identity: String,
    /// The plugin that gives their credentials, if one does.
    pub plugin: Plugin,
    /// A verb and its object.
    pub doing: String,
}

/// A credential plugin, as the kubeconfig has it: without its arguments and variables, which may be secret.
#[derive(Clone, Debug, Default)]
pub struct Plugin {
    /// Its command.
    pub command: String,
    /// How it is installed, in the words of whoever wrote the kubeconfig.
    pub install_hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Deadline,
    Unreachable(String),
    Certificate(String),
    /// Of somebody whom the CA knows, for other names.
    CertificateName(String),
    Credentials(String),
    Unauthorized,
    Forbidden(String),
    Api {
        code: u16,
        reason: String,
        message: String,
    },
    Other(String),
}

impl Call {
    /// It failed with this error.
    pub fn failed(self, error: &kube::Error) -> CallError {
        CallError { problem: classify(error, &self.plugin), call: Box::new(self) }
    }

    /// It took too long.
    pub fn timed_out(self) -> CallError {
        CallError { problem: Problem::Deadline, call: Box::new(self) }
    }
}

impl CallError {
    /// Nobody answered, or somebody whom the CA doesn't know.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.problem, Problem::Deadline | Problem::Unreachable(_) | Problem::Certificate(_))
    }

    /// The API server has no such object, or no such resource.
    pub fn is_not_found(&self) -> bool {
        matches!(self.problem, Problem::Api { code: 404, .. })
    }

    /// Somebody else was there first: the object exists already, or is not the one that we read.
    pub fn is_conflict(&self) -> bool {
        matches!(self.problem, Problem::Api { code: 409, .. })
    }

    /// The caller is not known.
    pub fn is_unauthorized(&self) -> bool {
        self.problem == Problem::Unauthorized
    }

    /// What was refused, in the API server's words, if it was.
    pub fn refusal(&self) -> Option<&str> {
        match &self.problem {
            Problem::Forbidden(message) => Some(message),
            _ => None,
        }
    }

    fn explain(&self) -> String {
        let Call { address, identity, doing, .. } = &*self.call;
        match &self.problem {
            Problem::Deadline => format!(
                "can't {doing}: no answer from {address} within {} s; is the cluster up, and the address right?",
                DEADLINE.as_secs()
            ),
            Problem::Unreachable(cause) => format!(
                "can't {doing}: {address} can't be reached: {cause}; is the cluster up, and the address right?"
            ),
            Problem::Certificate(cause) => format!(
                "can't {doing}: the certificate of {address} is not accepted: {cause}; is the CA that signed it given?"
            ),
            Problem::CertificateName(cause) => format!(
                "can't {doing}: the certificate of {address} is for other names: {cause}; give one of them as the host, \
                 or as the TLS server name"
            ),
            Problem::Credentials(cause) => format!("can't {doing}: the credentials of {identity}: {cause}"),
            Problem::Unauthorized => format!(
                "can't {doing}: {address} does not accept the credentials of {identity}; log in again, or choose \
                 another context"
            ),
            Problem::Forbidden(message) => {
                format!("{identity} may not {doing}: {message}; choose a context that has the right to")
            }
            Problem::Api { reason, message, .. } if message.is_empty() => format!("can't {doing}: {reason}"),
            Problem::Api { message, .. } | Problem::Other(message) => format!("can't {doing}: {message}"),
        }
    }
}

impl Plugin {
    /// The one of these credentials.
    pub fn of(user: &AuthInfo) -> Self {
        let command = |exec: &ExecConfig| exec.command.clone().unwrap_or_default();
        Self {
            command: user.exec.as_ref().map(command).unwrap_or_default(),
            install_hint: user.exec.as_ref().and_then(|exec| exec.install_hint.clone()),
        }
    }

    fn missing(&self) -> String {
        let hint = self
            .install_hint
            .as_deref()
            .map_or_else(|| "install it, or choose another context".to_owned(), errors::short);
        format!("their plugin {} is not there; {hint}", self.command)
    }
}

fn classify(error: &kube::Error, plugin: &Plugin) -> Problem {
    match error {
        kube::Error::Api(status) => {
            let message = errors::short(&status.message);
            let terminating = status
                .details
                .iter()
                .flat_map(|details| &details.causes)
                .any(|cause| cause.reason == "NamespaceTerminating");
            match status.code {
                401 => Problem::Unauthorized,
                403 if terminating => Problem::Api {
                    code: 403,
                    reason: status.reason.clone(),
                    message: format!("{message}; run this again when it is gone"),
                },
                403 => Problem::Forbidden(message),
                code => Problem::Api { code, reason: status.reason.clone(), message },
            }
        }
        kube::Error::Auth(error) => Problem::Credentials(credentials(error, plugin)),
        kube::Error::InferKubeconfig(error) => Problem::Credentials(errors::line(error)),
        // The message may quote a line of it.
        kube::Error::RustlsTls(RustlsTlsError::InvalidIdentityPem(_)) => {
            Problem::Credentials("their client certificate or its key is no PEM".into())
        }
        kube::Error::RustlsTls(
            error @ (RustlsTlsError::MissingPrivateKey
            | RustlsTlsError::MissingCertificate
            | RustlsTlsError::InvalidPrivateKey(_)
            | RustlsTlsError::UnknownPrivateKeyFormat),
        ) => Problem::Credentials(errors::line(error)),
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            // What a tower layer made of a credential problem is below it.
            let mut cause: &dyn std::error::Error = error;
            loop {
                if let Some(error) = cause.downcast_ref::<AuthError>() {
                    return Problem::Credentials(credentials(error, plugin));
                }
                if let Some(error) = cause.downcast_ref::<io::Error>()
                    && error.kind() == io::ErrorKind::TimedOut
                {
                    return Problem::Deadline;
                }
                match cause.source() {
                    Some(below) => cause = below,
                    None => {
                        let cause = errors::short(&cause.to_string());
                        return if cause.contains("not valid for name") {
                            Problem::CertificateName(cause)
                        } else if cause.contains("certificate") {
                            Problem::Certificate(cause)
                        } else {
                            Problem::Unreachable(cause)
                        };
                    }
                }
            }
        }
        other => Problem::Other(errors::line(other)),
    }
}

/// What a plugin printed to stdout can be a token, and its command line and variables a secret, so none
/// of it is shown. Unless it is never to ask anyone, its stderr is our own.
fn credentials(error: &AuthError, plugin: &Plugin) -> String {
    let command = &plugin.command;
    match error {
        AuthError::AuthExecRun { out, .. } => {
            let said = errors::short(&String::from_utf8_lossy(&out.stderr));
            let said = if said.is_empty() { "what it said is above" } else { &said };
            format!(
                "their plugin {command} failed ({}): {said}; log in again, or choose another context",
                out.status
            )
        }
        AuthError::AuthExecStart(error) if error.kind() == io::ErrorKind::NotFound => plugin.missing(),
        AuthError::AuthExecStart(error) => format!("their plugin {command} can't be started: {error}"),
        AuthError::AuthExecParse(_) | AuthError::ExecPluginFailed => format!(
            "their plugin {command} printed no ExecCredential with a status; is it the right one, and called as it \
             should be?"
        ),
        AuthError::MalformedTokenExpirationDate(_) => "their expirationTimestamp is no time".into(),
        AuthError::InvalidBearerToken(_) => "their token has characters that no token has".into(),
        AuthError::ReadTokenFile(error, path) => format!("{}: {error}", path.display()),
        AuthError::ParseTokenKey(_) => "the answer of their provider can't be read".into(),
        other => errors::short(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use rstest::rstest;

    fn said(error: &kube::Error) -> String {
        let call = Call {
            cluster: "c2".into(),
            address: "https://c2:6443".into(),
            identity: "context admin".into(),
            doing: "read namespace kube-system".into(),
            plugin: Plugin { command: "aws".into(), install_hint: Some("apt install\naws".into()) },
        };
        call.failed(error).to_string()
    }

    #[rstest]
    #[case(
        401,
        "",
        "c2: can't read namespace kube-system: https://c2:6443 does not accept the credentials of context admin"
    )]
    #[case(
        403,
        "User \"dev\" cannot get",
        "c2: context admin may not read namespace kube-system: User \"dev\" cannot get"
    )]
    #[case(500, "etcd is\naway", "c2: can't read namespace kube-system: etcd is away")]
    #[case(502, "", "c2: can't read namespace kube-system: Failure")]
    fn answers(#[case] code: u16, #[case] message: &str, #[case] start: &str) {
        let error = kube::Error::Api(Status::failure(message, "Failure").with_code(code).boxed());
        let said = said(&error);
        assert!(said.starts_with(start), "{said}");
    }

    #[test]
    fn no_answer() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused by peer");
        let error = said(&kube::Error::Service(refused.into()));
        assert!(error.contains("https://c2:6443 can't be reached: refused by peer"), "{error}");
        let late = io::Error::new(io::ErrorKind::TimedOut, "late");
        let error = said(&kube::Error::Service(late.into()));
        assert!(error.contains("no answer from https://c2:6443 within 10 s"), "{error}");
    }

    #[test]
    fn a_plugin_that_is_not_installed() {
        let missing = AuthError::AuthExecStart(io::ErrorKind::NotFound.into());
        let error = said(&kube::Error::Auth(missing));
        assert!(
            error.ends_with("of context admin: their plugin aws is not there; apt install aws"),
            "{error}"
        );
    }

    #[test]
    fn an_answer_that_is_no_answer_is_not_quoted() {
        let nonsense = serde_json::from_str::<u8>("\"t0ken\"").unwrap_err();
        assert!(!said(&kube::Error::SerdeError(nonsense)).contains("t0ken"));
    }
}
