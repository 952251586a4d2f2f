//! Explains a failed call to a source: its reason, and what to do.

use std::fmt;

use mcsa_runtime::errors::{self, CertificateError, foreign};

use crate::model::failure::Reason;
use crate::model::key::ObjectKey;

/// A call to a source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call<'a> {
    /// Gets the namespace `kube-system`, whose UID identifies the cluster. A failure concerns the source or its link,
    /// and not the import for which the call was made.
    Identity,
    /// Requests a token of this service account.
    Token(&'a ObjectKey),
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => formatter.write_str("the cluster identity (namespace kube-system)"),
            Self::Token(account) => write!(formatter, "a token for {account}"),
        }
    }
}

/// The reason of a failed call, and the message with what to do.
pub(super) fn explain(name: &str, address: &str, call: Call<'_>, error: &kube::Error) -> (Reason, String) {
    if let Some(response) = foreign::foreign_response(error) {
        let message = format!("can't get {call} from {name}: {}; {}", response.at(address), foreign::ADVICE);
        return (Reason::SourceUnreachable, message);
    }
    let kube::Error::Api(status) = error else {
        let (reason, fix) = match errors::certificate_error(error) {
            Some(certificate) => (Reason::SourceNotTrusted, certificate_advice(certificate)),
            None if errors::is_proxy_refusal(error) => (
                Reason::SourceUnreachable,
                "the proxy wants other credentials: run kubemcsa bootstrap again with user and password in \
                 --proxy-url",
            ),
            None => {
                (Reason::SourceUnreachable, "check that the source is up and reachable from the importer")
            }
        };
        let problem = errors::line(error);
        return (reason, format!("can't get {call} from {name} at {address}: {problem}; {fix}"));
    };
    let kind = status.details.as_ref().map_or("", |details| details.kind.as_str());
    let (reason, fix) = match (call, status.code, kind) {
        (_, 401, _) => (
            Reason::LinkUnauthorized,
            "run kubemcsa bootstrap again for this source; if a server that accepts only its own users answers there, \
             such as Rancher, pass the API server's own address with --source-server",
        ),
        (Call::Identity, 403, _) => (
            Reason::LinkForbidden,
            "run kubemcsa bootstrap again for this source, which grants the link's rights again",
        ),
        (Call::Identity, 404, _) => (
            Reason::SourceUnreachable,
            "every Kubernetes cluster has this namespace: check that the link's address is that of the source's API \
             server",
        ),
        (Call::Token(_), 403, _) => (Reason::Forbidden, forbidden_advice(&status.message)),
        (Call::Token(_), 404, "secrets") => {
            (Reason::BoundSecretNotFound, "create the Secret in the source, or change spec.boundSecret")
        }
        (Call::Token(_), 404, _) => (
            Reason::ServiceAccountNotFound,
            "create the service account in the source, or change spec.namespace and spec.name",
        ),
        (Call::Token(_), 400 | 422, _) => (Reason::InvalidSpec, "change the import's spec"),
        (_, 429, _) => (Reason::Throttled, "the importer retries later"),
        (_, 502..=504, _) => (
            Reason::SourceUnreachable,
            "check the source and the proxies in front of it; the importer retries later",
        ),
        _ => (Reason::SourceFailed, "the importer retries later"),
    };
    (reason, format!("{name} refused {call}: {}; {fix}", status.message))
}

/// What is wrong with a certificate, and how to fix it.
fn certificate_advice(certificate: &CertificateError) -> &'static str {
    match certificate {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for other host names; run kubemcsa bootstrap again with one of them in \
             --source-server or --tls-server-name"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "the certificate is expired or not yet valid; renew it in the source, or correct the clocks"
        }
        _ => {
            "the certificate is not signed by the link's CA; if the CA changed on purpose, run kubemcsa bootstrap \
             again for this source"
        }
    }
}

/// How to fix a refusal. If a policy refuses the request, no grant helps.
fn forbidden_advice(message: &str) -> &'static str {
    if message.contains("ValidatingAdmissionPolicy") {
        "change the import's spec, or ask the source's owners"
    } else {
        "allow it in the source with kubemcsa allow, or ask the source's owners"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::rbac("User \"c1\" cannot create resource \"serviceaccounts/token\"", "kubemcsa allow")]
    #[case::admission_policy(
        "serviceaccounts \"a\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no",
        "change the import's spec"
    )]
    fn advice_depends_on_whether_rbac_or_the_policy_refused(#[case] message: &str, #[case] expected: &str) {
        assert!(forbidden_advice(message).contains(expected));
    }

    #[rstest]
    #[case::page(403, foreign::NO_STATUS, Reason::SourceUnreachable, "answered at https://c2 (HTTP 403)")]
    #[case::missing_page(404, foreign::NO_STATUS, Reason::SourceUnreachable, "check the path of the address")]
    #[case::refusal(403, "Forbidden", Reason::Forbidden, "c2 refused a token for team/a: HTTP; ")]
    #[case::not_found(
        404,
        "NotFound",
        Reason::ServiceAccountNotFound,
        "c2 refused a token for team/a: HTTP; "
    )]
    #[case::invalid(422, "Invalid", Reason::InvalidSpec, "change the import's spec")]
    #[case::unauthorized(401, "Unauthorized", Reason::LinkUnauthorized, "--source-server")]
    fn failed_token_request_has_a_reason(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] expected: Reason,
        #[case] words: &str,
    ) {
        let (reason, message) = refused(Call::Token(&ObjectKey::new("team", "a")), code, reason);
        assert_eq!(reason, expected);
        assert!(message.contains(words), "{message}");
    }

    #[rstest]
    #[case::page(404, foreign::NO_STATUS, Reason::SourceUnreachable, "answered at https://c2 (HTTP 404)")]
    #[case::unauthorized(401, "Unauthorized", Reason::LinkUnauthorized, "--source-server")]
    #[case::forbidden(403, "Forbidden", Reason::LinkForbidden, "run kubemcsa bootstrap again")]
    #[case::not_found(404, "NotFound", Reason::SourceUnreachable, "check that the link's address")]
    #[case::bad_request(400, "BadRequest", Reason::SourceFailed, "the importer retries")]
    #[case::invalid(422, "Invalid", Reason::SourceFailed, "the importer retries")]
    #[case::throttled(429, "TooManyRequests", Reason::Throttled, "the importer retries")]
    fn failed_identity_request_is_never_the_fault_of_an_imports_owner(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] expected: Reason,
        #[case] words: &str,
    ) {
        let (reason, message) = refused(Call::Identity, code, reason);
        assert_eq!(reason, expected);
        assert!(message.contains(words), "{message}");
        assert!(!Reason::FIXED_BY_OWNERS.contains(&reason));
    }

    fn refused(call: Call<'_>, code: u16, reason: &str) -> (Reason, String) {
        let status = kube::core::Status::failure("HTTP", reason).with_code(code);
        explain("c2", "https://c2", call, &kube::Error::Api(status.boxed()))
    }

    #[test]
    fn refusal_of_a_proxy_asks_for_other_credentials() {
        let error = std::io::Error::other("tunnel error: proxy authorization required");
        let error = kube::Error::Service(error.into());
        let (reason, message) = explain("c2", "https://c2", Call::Identity, &error);
        assert_eq!(reason, Reason::SourceUnreachable);
        assert!(message.contains("the proxy wants other credentials"), "{message}");
    }
}
