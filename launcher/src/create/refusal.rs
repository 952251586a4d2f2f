//! Decides what follows when the source does not create a pod.

use kube::Error;
use kube::core::Status;
use mcsa_runtime::errors::foreign;

/// What follows a failed creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A pod of this name exists. It may be ours.
    Exists,
    /// Trying again may help: the source is away, or someone must mend something there. The reason of the event.
    Retry(&'static str),
    /// The source will never accept this pod.
    Permanent,
}

/// Messages of 403s that someone can mend without changing the pod.
const MENDABLE: [(&str, &str); 4] = [
    ("exceeded quota", "QuotaExceeded"),
    ("failed quota", "QuotaExceeded"),
    // <https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/serviceaccount/admission.go>
    ("error looking up service account", "ServiceAccountNotFound"),
    ("because it is being terminated", "NamespaceTerminating"),
];

/// Classifies the error of a POST of a pod.
pub(crate) fn classify(error: &Error) -> Refusal {
    let Error::Api(status) = error else { return Refusal::Retry("SourceUnreachable") };
    // A login page or a proxy says nothing about the pod.
    if foreign::of_status(status).is_some() {
        return Refusal::Retry("SourceUnreachable");
    }
    match status.code {
        409 if status.reason == "AlreadyExists" => Refusal::Exists,
        401 => Refusal::Retry("Unauthorized"),
        403 => forbidden(status),
        404 => Refusal::Retry("NamespaceNotFound"),
        400 | 405 | 413 | 415 | 422 => Refusal::Permanent,
        _ => Refusal::Retry("SourceUnreachable"),
    }
}

fn forbidden(status: &Status) -> Refusal {
    let mendable = MENDABLE.iter().find(|(text, _)| status.message.contains(text));
    match mendable {
        Some((_, reason)) => Refusal::Retry(reason),
        // The authorizer's words, not those of an admission plugin.
        None if status.message.contains("cannot create resource") => Refusal::Retry("Forbidden"),
        None => Refusal::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::exists(409, "AlreadyExists", "pods \"a\" already exists", Refusal::Exists)]
    #[case::conflict(409, "Conflict", "", Refusal::Retry("SourceUnreachable"))]
    #[case::quota(
        403,
        "Forbidden",
        "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
        Refusal::Retry("QuotaExceeded")
    )]
    #[case::quota_needs_requests(
        403,
        "Forbidden",
        "pods \"a\" is forbidden: failed quota: q: must specify cpu for: c",
        Refusal::Retry("QuotaExceeded")
    )]
    #[case::no_service_account(
        403,
        "Forbidden",
        "pods \"a\" is forbidden: error looking up service account b/x: serviceaccount \"x\" not found",
        Refusal::Retry("ServiceAccountNotFound")
    )]
    #[case::terminating(
        403,
        "Forbidden",
        "pods \"a\" is forbidden: unable to create new content in namespace b because it is being terminated",
        Refusal::Retry("NamespaceTerminating")
    )]
    #[case::no_right(
        403,
        "Forbidden",
        "pods is forbidden: User \"system:serviceaccount:b:launcher-c1\" cannot create resource \"pods\" in API group \"\" in the namespace \"b\"",
        Refusal::Retry("Forbidden")
    )]
    #[case::pod_security(
        403,
        "Forbidden",
        "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": privileged",
        Refusal::Permanent
    )]
    #[case::webhook(400, "BadRequest", "admission webhook \"x\" denied the request: no", Refusal::Permanent)]
    #[case::invalid(422, "Invalid", "Pod \"a\" is invalid", Refusal::Permanent)]
    #[case::no_namespace(404, "NotFound", "namespaces \"b\" not found", Refusal::Retry("NamespaceNotFound"))]
    #[case::unauthorized(401, "Unauthorized", "Unauthorized", Refusal::Retry("Unauthorized"))]
    #[case::throttled(429, "TooManyRequests", "", Refusal::Retry("SourceUnreachable"))]
    #[case::webhook_down(500, "InternalError", "failed calling webhook", Refusal::Retry("SourceUnreachable"))]
    fn only_what_nobody_can_mend_there_is_permanent(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] message: &str,
        #[case] expected: Refusal,
    ) {
        let status = Status::failure(message, reason).with_code(code);
        assert_eq!(classify(&Error::Api(status.boxed())), expected);
    }

    #[rstest]
    fn a_refusal_of_a_proxy_is_retried(#[values(400, 403, 413, 422)] code: u16) {
        let status = Status::failure("<html>blocked</html>", foreign::NO_STATUS).with_code(code);
        assert_eq!(classify(&Error::Api(status.boxed())), Refusal::Retry("SourceUnreachable"));
    }

    #[test]
    fn without_a_response_creation_is_retried() {
        let error = Error::Service("connection refused".into());
        assert_eq!(classify(&error), Refusal::Retry("SourceUnreachable"));
    }
}
