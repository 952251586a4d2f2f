//! Responses that are not what the caller asked for.

use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use mcsa_runtime::errors;
use mcsa_runtime::errors::foreign::foreign_response;
use serde_json::json;

use super::body::{self, Body};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) message: String,
}

/// How the caller reads a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// API servers quote the text of a failed request for logs to their clients.
    Text,
    /// API servers pass a refused upgrade on to their clients, who expect a `Status`.
    Status,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The source refused a request, or could not be reached.
    pub(super) fn of_source(cluster: &str, error: &kube::Error) -> Self {
        let line = errors::short(&errors::line(error));
        let unreachable = |code, line: &str| Self::new(code, format!("cluster {cluster}: {line}"));
        if foreign_response(error).is_some() {
            return unreachable(StatusCode::BAD_GATEWAY, &line);
        }
        let kube::Error::Api(status) = error else {
            return unreachable(StatusCode::SERVICE_UNAVAILABLE, &line);
        };
        match StatusCode::from_u16(status.code) {
            // It is not the caller's credential.
            Ok(StatusCode::UNAUTHORIZED) => {
                unreachable(StatusCode::BAD_GATEWAY, "it refuses the credential of the launch import (401)")
            }
            // The user is one of the source.
            Ok(code @ StatusCode::FORBIDDEN) => unreachable(code, &line),
            Ok(code) if code.is_client_error() || code.is_server_error() => Self::new(code, line),
            _ => unreachable(StatusCode::BAD_GATEWAY, &line),
        }
    }

    /// The response for a caller.
    pub(super) fn into_response(self, form: Form) -> Response<Body> {
        let Self { mut code, message } = self;
        let (content_type, text) = match form {
            Form::Text => {
                code = quoted(code);
                ("text/plain; charset=utf-8", message + "\n")
            }
            Form::Status => {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": message, "reason": reason(code), "code": code.as_u16(),
                });
                ("application/json", status.to_string())
            }
        };
        let mut response = Response::new(body::full(text));
        *response.status_mut() = code;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if code == StatusCode::UNAUTHORIZED {
            // Callers who can't authenticate hold no connection.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// API servers replace the text of other server errors, such as 503, with a phrase of their own.
fn quoted(code: StatusCode) -> StatusCode {
    match code {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            StatusCode::BAD_GATEWAY
        }
        other => other,
    }
}

/// The API's reason of a code.
fn reason(code: StatusCode) -> &'static str {
    match code {
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::GATEWAY_TIMEOUT => "Timeout",
        code if code.is_server_error() => "InternalError",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use rstest::rstest;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "Reason").with_code(code).boxed())
    }

    #[rstest]
    #[case(api(400, "container is waiting to start"), 400, "container is waiting to start")]
    #[case(api(404, "pods \"p\" not found"), 404, "pods \"p\" not found")]
    #[case(api(403, "User \"u\" cannot create"), 403, "cluster c2: User \"u\" cannot create")]
    #[case(api(401, "Unauthorized"), 502, "cluster c2: it refuses the credential of the launch import (401)")]
    #[case(
        api(200, "the server did not switch protocols"),
        502,
        "cluster c2: the server did not switch protocols"
    )]
    #[case(kube::Error::Service("no route".into()), 503, "cluster c2: ServiceError: no route")]
    fn errors_of_the_source(#[case] error: kube::Error, #[case] code: u16, #[case] message: &str) {
        let refusal = Refusal::of_source("c2", &error);
        assert_eq!((refusal.code.as_u16(), &*refusal.message), (code, message));
    }

    #[rstest]
    #[case(Form::Status, 503, 503)]
    #[case(Form::Text, 503, 502)]
    #[case(Form::Text, 504, 502)]
    #[case(Form::Text, 404, 404)]
    #[case(Form::Text, 500, 500)]
    fn code_makes_the_api_server_quote_the_text(#[case] form: Form, #[case] code: u16, #[case] sent: u16) {
        let refusal = Refusal::new(StatusCode::from_u16(code).unwrap(), "why");
        assert_eq!(refusal.into_response(form).status().as_u16(), sent);
    }
}
