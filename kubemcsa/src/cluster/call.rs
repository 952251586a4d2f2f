//! Errors of calls: which cluster, what was tried, and how to fix it.

use std::io;
use std::time::Duration;

use mcsa_client::live::{PluginError, PluginProblem};
use mcsa_runtime::errors::foreign::{self, ForeignResponse};
use mcsa_runtime::errors::{self, is_proxy_refusal};

/// Longest duration of a call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", call.cluster, self.explain())]
pub(crate) struct CallError {
    call: Box<Call>,
    problem: Problem,
}

/// What was tried.
#[derive(Debug)]
pub(crate) struct Call {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// URL of its API server.
    pub(crate) address: String,
    /// The user, such as `context c1`.
    pub(crate) identity: String,
    /// A verb and its object.
    pub(crate) doing: String,
    /// Whether the user is a link, not a person.
    pub(crate) is_link: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Deadline,
    Unreachable(String),
    Certificate(String),
    /// The CA is trusted, but the certificate is for other names.
    CertificateName(String),
    /// The proxy rejects the credentials in its URL, or requires some.
    ProxyCredentials(String),
    /// Something other than an API server answered.
    NotKubernetes(ForeignResponse),
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
    pub(crate) fn failed(self, error: &kube::Error) -> CallError {
        CallError { problem: classify(error), call: Box::new(self) }
    }

    /// No request can be sent.
    pub(crate) fn impossible(self, problem: String) -> CallError {
        CallError { problem: Problem::Other(problem), call: Box::new(self) }
    }

    /// The API server does not know the path.
    pub(crate) fn not_served(self) -> CallError {
        let message = "the API server does not serve this resource".into();
        let problem = Problem::Api { code: 404, reason: "NotFound".into(), message };
        CallError { problem, call: Box::new(self) }
    }

    pub(crate) fn timed_out(self) -> CallError {
        CallError { problem: Problem::Deadline, call: Box::new(self) }
    }
}

impl CallError {
    /// There was no response, or the server's certificate is not accepted.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self.problem,
            Problem::Deadline
                | Problem::Unreachable(_)
                | Problem::Certificate(_)
                | Problem::CertificateName(_)
                | Problem::ProxyCredentials(_)
        )
    }

    /// Something other than an API server answered.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.problem, Problem::NotKubernetes(_))
    }

    /// The object or its resource doesn't exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.problem, Problem::Api { code: 404, .. })
    }

    /// The object already exists, or has changed since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.problem, Problem::Api { code: 409, .. })
    }

    /// The object is not valid, or a `test` of a JSON Patch has failed.
    pub(crate) fn is_unprocessable(&self) -> bool {
        matches!(self.problem, Problem::Api { code: 422, .. })
    }

    pub(crate) fn is_unauthorized(&self) -> bool {
        self.problem == Problem::Unauthorized
    }

    /// The API server's message, if it refused the call.
    pub(crate) fn refusal(&self) -> Option<&str> {
        match &self.problem {
            Problem::Forbidden(message) => Some(message),
            _ => None,
        }
    }

    fn explain(&self) -> String {
        let Call { address, identity, doing, is_link, .. } = &*self.call;
        match &self.problem {
            Problem::Deadline => format!(
                "can't {doing}: no response from {address} within {}s; check that the cluster is up and the address is right",
                DEADLINE.as_secs()
            ),
            Problem::Unreachable(cause) => format!(
                "can't {doing}: {address} is unreachable: {cause}; check that the cluster is up and the address is right"
            ),
            Problem::Certificate(cause) => format!(
                "can't {doing}: the certificate of {address} is not trusted: {cause}; configure the CA that signed it"
            ),
            Problem::CertificateName(cause) => format!(
                "can't {doing}: the certificate of {address} is for other names: {cause}; use one of these as the host or as \
                 the TLS server name"
            ),
            Problem::ProxyCredentials(cause) => format!(
                "can't {doing}: {address} is unreachable: the proxy wants other credentials ({cause}); correct user and \
                 password in the proxy's URL"
            ),
            Problem::NotKubernetes(response) => {
                format!("can't {doing}: {}; {}", response.at(address), foreign::ADVICE)
            }
            Problem::Credentials(cause) => {
                format!("can't {doing}: can't use the credentials of {identity}: {cause}")
            }
            Problem::Unauthorized if *is_link => format!(
                "can't {doing}: {address} does not accept the token of {identity}; if a server that accepts only its own \
                 users answers there, such as Rancher or Teleport, pass the API server's own address with --source-server"
            ),
            Problem::Unauthorized => format!(
                "can't {doing}: {address} does not accept the credentials of {identity}; log in again, or choose \
                 another context"
            ),
            Problem::Forbidden(message) if *is_link => format!("{identity} cannot {doing}: {message}"),
            Problem::Forbidden(message) => {
                format!("{identity} cannot {doing}: {message}; choose a context that has this permission")
            }
            Problem::Api { reason, message, .. } if message.is_empty() => format!("can't {doing}: {reason}"),
            Problem::Api { message, .. } | Problem::Other(message) => format!("can't {doing}: {message}"),
        }
    }
}

fn classify(error: &kube::Error) -> Problem {
    if let Some(response) = foreign::foreign_response(error) {
        return Problem::NotKubernetes(response);
    }
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
                    message: format!(
                        "{message}; wait until the namespace is deleted, then run the command again"
                    ),
                },
                403 => Problem::Forbidden(message),
                code => Problem::Api { code, reason: status.reason.clone(), message },
            }
        }
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            // Tower layers wrap the cause.
            let mut cause: &dyn std::error::Error = error;
            loop {
                if let Some(error) = cause.downcast_ref::<PluginError>() {
                    return Problem::Credentials(explain_plugin(error));
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
                        return if is_proxy_refusal(error) {
                            Problem::ProxyCredentials(cause)
                        } else if cause.contains("not valid for name") {
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

/// Does not quote what may be secret: the plugin's output, arguments and variables. Its stderr is that of kubemcsa.
fn explain_plugin(error: &PluginError) -> String {
    let command = &error.command;
    match &error.problem {
        PluginProblem::NotInstalled => {
            let hint = error.install_hint.as_deref();
            let hint = hint.map_or_else(|| "install it, or choose another context".to_owned(), errors::short);
            format!("plugin {command} is not installed; {hint}")
        }
        PluginProblem::Failed(status) => {
            format!("plugin {command} failed ({status}); log in again, or choose another context")
        }
        PluginProblem::NoCredential | PluginProblem::OtherVersion(_) | PluginProblem::InvalidTime => {
            format!("plugin {command} {}; check its command and arguments in the kubeconfig", error.problem)
        }
        problem => format!("plugin {command} {problem}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kube::core::Status;
    use rstest::rstest;

    fn call() -> Call {
        Call {
            cluster: "c2".into(),
            address: "https://c2:6443".into(),
            identity: "context admin".into(),
            doing: "read namespace kube-system".into(),
            is_link: false,
        }
    }

    /// The error of a call that an API server answered with this code.
    pub(crate) fn status(code: u16) -> CallError {
        call().failed(&kube::Error::Api(Status::failure("no", "Failure").with_code(code).boxed()))
    }

    pub(crate) fn unreachable() -> CallError {
        call().failed(&kube::Error::Service("refused".into()))
    }

    fn message(error: &kube::Error) -> String {
        call().failed(error).to_string()
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
        "c2: context admin cannot read namespace kube-system: User \"dev\" cannot get"
    )]
    #[case(500, "etcd is\naway", "c2: can't read namespace kube-system: etcd is away")]
    #[case(502, "", "c2: can't read namespace kube-system: Failure")]
    fn error_names_the_cluster_and_the_action(#[case] code: u16, #[case] text: &str, #[case] start: &str) {
        let error = kube::Error::Api(Status::failure(text, "Failure").with_code(code).boxed());
        let message = message(&error);
        assert!(message.starts_with(start), "{message}");
    }

    #[test]
    fn unreachable_server_is_named_with_the_cause() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused by peer");
        let error = message(&kube::Error::Service(refused.into()));
        assert!(error.contains("https://c2:6443 is unreachable: refused by peer"), "{error}");
        let late = io::Error::new(io::ErrorKind::TimedOut, "late");
        let error = message(&kube::Error::Service(late.into()));
        assert!(error.contains("no response from https://c2:6443 within 10s"), "{error}");
    }

    #[test]
    fn link_is_not_asked_to_log_in() {
        let error = |code| {
            let status = Status::failure("no", "Failure").with_code(code).boxed();
            Call { is_link: true, ..call() }.failed(&kube::Error::Api(status)).to_string()
        };
        let unauthorized = error(401);
        assert!(
            unauthorized.contains("--source-server") && !unauthorized.contains("log in"),
            "{unauthorized}"
        );
        assert!(!error(403).contains("choose"), "{}", error(403));
    }

    #[test]
    fn page_is_neither_quoted_nor_a_refusal() {
        for code in [403, 404, 502] {
            let status = Status::failure("<html>no</html>", foreign::NO_STATUS).with_code(code);
            let error = call().failed(&kube::Error::Api(status.boxed()));
            assert!(error.refusal().is_none() && !error.is_not_found() && !error.is_unreachable());
            let message = error.to_string();
            let expected =
                format!("no Kubernetes API server answered at https://c2:6443 (HTTP {code}); check");
            assert!(message.contains(&expected) && !message.contains("html"), "{message}");
        }
    }

    #[test]
    fn refusal_of_a_proxy_asks_for_other_credentials() {
        let refused = io::Error::other("tunnel error: proxy authorization required");
        let error = message(&kube::Error::Service(refused.into()));
        assert!(error.contains("the proxy wants other credentials") && !error.contains("is up"), "{error}");
    }

    #[test]
    fn missing_plugin_is_reported_with_its_install_hint() {
        let missing = PluginError {
            command: "aws".into(),
            install_hint: Some("apt install\naws".into()),
            problem: PluginProblem::NotInstalled,
        };
        let error = message(&kube::Error::Service(missing.into()));
        assert!(error.ends_with("of context admin: plugin aws is not installed; apt install aws"), "{error}");
    }

    #[test]
    fn invalid_response_is_not_quoted() {
        let nonsense = serde_json::from_str::<u8>("\"t0ken\"").unwrap_err();
        assert!(!message(&kube::Error::SerdeError(nonsense)).contains("t0ken"));
    }
}
