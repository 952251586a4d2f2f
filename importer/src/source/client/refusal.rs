//! Sanitizes a source's error response.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};
use mcsa_runtime::errors::{REDACTED, foreign, redacted};
use serde_json::Value;

/// Maximum number of characters of a message, and of a name.
const MESSAGE: usize = 1000;
const NAME: usize = 253;

/// Maximum number of causes.
const CAUSES: usize = 10;

/// The `Status` in a source's response, bounded and without tokens. Any other body is dropped, such as a
/// proxy's page that echoes the request; its reason is [`foreign::NO_STATUS`] if no API server sends it.
///
/// `Retry-After` is copied into the details: kube does not read headers, and API Priority and Fairness sends
/// no Status (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>).
pub fn refusal(code: StatusCode, headers: &HeaderMap, body: &[u8], token: &str) -> Status {
    let http = format!("HTTP {}", code.as_u16());
    if code.is_redirection() {
        let message = format!("{http}: redirects are not followed");
        return Status::failure(&message, foreign::NO_STATUS).with_code(code.as_u16());
    }
    let clean =
        |text: &str, limit: usize| without_tokens(text, token).chars().take(limit).collect::<String>();
    let status = parse(body).unwrap_or_else(|| {
        let is_foreign = foreign::is_foreign(code.as_u16(), body);
        let reason = if is_foreign { foreign::NO_STATUS.to_owned() } else { String::new() };
        Status { reason, ..Default::default() }
    });
    let details = status.details.unwrap_or_else(empty_details);
    let details = StatusDetails {
        name: clean(&details.name, NAME),
        group: clean(&details.group, NAME),
        kind: clean(&details.kind, NAME),
        uid: clean(&details.uid, NAME),
        causes: details.causes.iter().take(CAUSES).map(|cause| cleaned(cause, clean)).collect(),
        retry_after_seconds: match details.retry_after_seconds {
            0 => retry_after(headers),
            seconds => seconds,
        },
    };
    let message = if status.message.is_empty() { http } else { clean(&status.message, MESSAGE) };
    let code = if status.code == 0 { code.as_u16() } else { status.code };
    Status::failure(&message, &clean(&status.reason, NAME)).with_code(code).with_details(details)
}

/// The body as a Kubernetes `Status`; kube would accept any JSON object.
fn parse(body: &[u8]) -> Option<Status> {
    let status = serde_json::from_slice::<Value>(body).ok()?;
    let is_status = status["kind"] == "Status" && status["apiVersion"] == "v1";
    serde_json::from_value(status).ok().filter(|_| is_status)
}

/// `Retry-After` in seconds. Kubernetes does not use the other form, a date.
fn retry_after(headers: &HeaderMap) -> u32 {
    let value = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn cleaned(cause: &StatusCause, clean: impl Fn(&str, usize) -> String) -> StatusCause {
    StatusCause {
        reason: clean(&cause.reason, NAME),
        message: clean(&cause.message, MESSAGE),
        field: clean(&cause.field, NAME),
    }
}

fn empty_details() -> StatusDetails {
    let empty_details = String::new;
    StatusDetails {
        name: empty_details(),
        group: empty_details(),
        kind: empty_details(),
        uid: empty_details(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    }
}

/// The text without this token and without anything that looks like one.
fn without_tokens(text: &str, token: &str) -> String {
    if token.is_empty() { redacted(text) } else { redacted(&text.replace(token, REDACTED)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TOKEN: &str = "opaque-t0ken";
    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-bmF0_dXJl";

    fn refused(code: u16, retry_after: Option<&'static str>, body: &str) -> Status {
        let headers = retry_after.map(|value| (RETRY_AFTER, http::HeaderValue::from_static(value)));
        let code = StatusCode::from_u16(code).unwrap();
        refusal(code, &headers.into_iter().collect(), body.as_bytes(), TOKEN)
    }

    fn status(code: u16, message: &str, details: &str) -> String {
        let message = Value::from(message);
        format!(
            r#"{{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": {message},
                "reason": "R", "details": {details}, "code": {code}}}"#
        )
    }

    #[rstest]
    #[case::html_page(502, &format!("<html>authorization: Bearer {TOKEN}</html>"), 502, "HTTP 502")]
    #[case::priority_and_fairness(429, "Too many requests, please try again later.\n", 429, "HTTP 429")]
    #[case::empty_details(503, "", 503, "HTTP 503")]
    #[case::other_json(401, r#"{"message": "no", "code": 200}"#, 401, "HTTP 401")]
    #[case::not_an_object(500, "[1]", 500, "HTTP 500")]
    #[case::status_of_wrong_types(
        500,
        r#"{"kind": "Status", "apiVersion": "v1", "code": "x"}"#,
        500,
        "HTTP 500"
    )]
    #[case::redirection(302, "<a href=x>", 302, "HTTP 302: redirects are not followed")]
    #[case::status(403, &status(403, "may not", "null"), 403, "may not")]
    #[case::status_without_code(403, &status(0, "may not", "null"), 403, "may not")]
    #[case::status_without_message(403, &status(403, "", "null"), 403, "HTTP 403")]
    #[case::token(403, &status(403, &format!("'{TOKEN}'?"), "null"), 403, "'[redacted]'?")]
    #[case::jwt(400, &status(400, &format!("<{JWT}> eyJ a.b.c"), "null"), 400, "<[redacted]> eyJ a.b.c")]
    fn code_and_message_are_kept(
        #[case] code: u16,
        #[case] body: &str,
        #[case] kept_code: u16,
        #[case] kept_message: &str,
    ) {
        let Status { code, message, .. } = refused(code, None, body);
        assert_eq!((code, message.as_str()), (kept_code, kept_message));
    }

    #[rstest]
    #[case::html_page(403, "<html>", true)]
    #[case::text(404, "404 page not found", true)]
    #[case::empty(503, "", true)]
    #[case::redirection(302, "", true)]
    #[case::login_page(200, "<html>", true)]
    #[case::other_json(404, r#"{"error": "no"}"#, true)]
    #[case::priority_and_fairness(429, "Too many requests, please try again later.\n", false)]
    #[case::status(403, &status(403, "may not", "null"), false)]
    fn response_of_another_server_is_marked(#[case] code: u16, #[case] body: &str, #[case] expected: bool) {
        assert_eq!(foreign::of_status(&refused(code, None, body)).is_some(), expected);
    }

    #[rstest]
    #[case::header(Some("1"), "plain".into(), 1)]
    #[case::status(None, status(429, "m", r#"{"retryAfterSeconds": 7}"#), 7)]
    #[case::header_and_status(Some("1"), status(429, "m", r#"{"retryAfterSeconds": 7}"#), 7)]
    #[case::header_of_a_status(Some("3"), status(429, "m", r#"{"kind": "x"}"#), 3)]
    #[case::date(Some("Wed, 21 Oct 2015 07:28:00 GMT"), "plain".into(), 0)]
    #[case::no_delay(None, "plain".into(), 0)]
    fn retry_after_is_kept(#[case] header: Option<&'static str>, #[case] body: String, #[case] seconds: u32) {
        assert_eq!(refused(429, header, &body).details.unwrap().retry_after_seconds, seconds);
    }

    #[test]
    fn details_are_bounded() {
        let cause = format!(r#"{{"reason": "r", "message": "{TOKEN}", "field": "f"}}"#);
        let causes = vec![cause; 100].join(",");
        let details = format!(r#"{{"name": "{JWT}", "kind": "secrets", "causes": [{causes}]}}"#);
        let kept = refused(404, None, &status(404, &"ä".repeat(20_000), &details));
        assert_eq!((kept.code, kept.reason.as_str(), kept.message.chars().count()), (404, "R", MESSAGE));
        let details = kept.details.unwrap();
        assert_eq!((details.kind.as_str(), details.name.as_str()), ("secrets", REDACTED));
        assert_eq!((details.causes.len(), details.causes[0].message.as_str()), (CAUSES, REDACTED));
    }
}
