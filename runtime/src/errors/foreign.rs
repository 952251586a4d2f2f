//! Recognizes responses that no Kubernetes API server sends: those of a login page, a proxy or a balancer. They are
//! never quoted, and never count as a refusal or as "not found".

use std::error::Error;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use kube::core::Status;
use tower::BoxError;

use super::causes;

/// The reason of the `Status` that kube makes of an error response without one. The importer's guard uses it, too.
pub const NO_STATUS: &str = "Failed to parse error data";

/// What to check if a response is foreign.
pub const ADVICE: &str = "check the path of the address, and whether a login page or a proxy answers instead";

/// The text that API servers send for a path that they don't serve, such as that of a CRD which does not exist. So do
/// many other servers.
const MISSING_PATH: &str = "404 page not found";

/// A response that no Kubernetes API server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Kubernetes API server answered{}", self.http())]
pub struct ForeignResponse {
    /// The HTTP status, if kube keeps it.
    pub code: Option<u16>,
}

impl ForeignResponse {
    /// The message for an address.
    pub fn at(self, address: &str) -> String {
        format!("no Kubernetes API server answered at {address}{}", self.http())
    }

    fn http(self) -> String {
        self.code.map(|code| format!(" (HTTP {code})")).unwrap_or_default()
    }
}

/// The foreign response that caused the error.
pub fn foreign_response(error: &(dyn Error + 'static)) -> Option<ForeignResponse> {
    causes(error).find_map(|cause| {
        if let Some(response) = cause.downcast_ref::<ForeignResponse>() {
            return Some(*response);
        }
        match cause.downcast_ref::<kube::Error>()? {
            kube::Error::Api(status) => of_status(status),
            // Not JSON. JSON of another form has the category `Data`.
            kube::Error::SerdeError(error) if error.is_syntax() || error.is_eof() => {
                Some(ForeignResponse { code: None })
            }
            kube::Error::FromUtf8(_) => Some(ForeignResponse { code: None }),
            _ => None,
        }
    })
}

/// The foreign response that kube made this status of.
pub fn of_status(status: &Status) -> Option<ForeignResponse> {
    let is_foreign = match status.reason.as_str() {
        NO_STATUS => is_foreign(status.code, status.message.as_bytes()),
        // kube takes any JSON object for a Status, with defaults for missing fields.
        _ => status.status.is_none(),
    };
    is_foreign.then_some(ForeignResponse { code: Some(status.code).filter(|code| *code != 0) })
}

/// Whether a response without a `Status` is foreign. API servers send none if they are busy (429, API Priority and
/// Fairness) or have a bug (500); servers in front of them, such as Rancher, send none if they reject a token (401).
pub fn is_foreign(code: u16, body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<") || !matches!(code, 401 | 429 | 500)
}

/// Whether the server does not know the path. This may be an API server, too.
pub fn is_missing_path(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 404 && status.reason == NO_STATUS && status.message.trim() == MISSING_PATH
        }
        _ => false,
    }
}

/// Whether the body is a page.
pub fn is_html(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// Rejects redirects and pages, whose body kube would parse.
///
/// # Errors
/// [`ForeignResponse`], or the error of the call.
pub fn reject<B>(result: Result<Response<B>, BoxError>) -> Result<Response<B>, BoxError> {
    let response = result?;
    if response.status().is_redirection() || is_html(response.headers()) {
        return Err(ForeignResponse { code: Some(response.status().as_u16()) }.into());
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::line;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::client::{Body, ClientBuilder};
    use kube::{Api, Client};
    use rstest::rstest;
    use std::convert::Infallible;
    use tower::util::MapResultLayer;
    use tower::{ServiceExt, service_fn};

    const HTML: &str = "<!DOCTYPE html><title>log in with s3cret</title>";

    /// A client of a server that always returns this response.
    fn client(code: u16, content_type: &'static str, body: &'static str) -> Client {
        let server = service_fn(move |_: http::Request<Body>| {
            let response = Response::builder().status(code).header(CONTENT_TYPE, content_type);
            std::future::ready(Ok::<_, Infallible>(
                response.body(Body::from(body.as_bytes().to_vec())).unwrap(),
            ))
        });
        let server = server.map_err(BoxError::from);
        ClientBuilder::new(server, "default").with_layer(&MapResultLayer::new(reject)).build()
    }

    async fn error(code: u16, content_type: &'static str, body: &'static str) -> kube::Error {
        Api::<Namespace>::all(client(code, content_type, body)).get("kube-system").await.unwrap_err()
    }

    #[rstest]
    #[case::login_page(200, "text/html; charset=utf-8", HTML, Some(Some(200)))]
    #[case::login_page_as_text(200, "text/plain", HTML, Some(None))]
    #[case::redirect(302, "", "", Some(Some(302)))]
    #[case::forbidden_page(403, "text/html", HTML, Some(Some(403)))]
    #[case::forbidden_page_as_text(403, "", HTML, Some(Some(403)))]
    #[case::rejected_by_a_page(401, "", HTML, Some(Some(401)))]
    #[case::no_such_page(404, "text/plain", "404 page not found\n", Some(Some(404)))]
    #[case::balancer(502, "", "bad gateway", Some(Some(502)))]
    #[case::empty(503, "", "", Some(Some(503)))]
    #[case::other_json(404, "application/json", r#"{"error": "no route"}"#, Some(None))]
    #[case::json_of_another_form(200, "application/json", "[1]", None)]
    #[case::priority_and_fairness(429, "text/plain", "Too many requests, please try again later.\n", None)]
    #[case::bug(500, "text/plain", "This request caused apiserver to panic.\n", None)]
    #[case::rejected_by_a_front(401, "application/json", r#"{"status": "401", "message": "log in"}"#, None)]
    #[case::status(403, "application/json", r#"{"kind": "Status", "status": "Failure", "code": 403}"#, None)]
    #[tokio::test]
    async fn responses_that_no_api_server_sends_are_recognized(
        #[case] code: u16,
        #[case] content_type: &'static str,
        #[case] body: &'static str,
        #[case] expected: Option<Option<u16>>,
    ) {
        let error = error(code, content_type, body).await;
        assert_eq!(foreign_response(&error).map(|response| response.code), expected, "{error:?}");
        assert!(!line(&error).contains("s3cret"), "{}", line(&error));
    }

    #[tokio::test]
    async fn path_that_is_not_served_is_recognized() {
        assert!(is_missing_path(&error(404, "text/plain", "404 page not found\n").await));
        assert!(!is_missing_path(&error(404, "text/plain", "not found").await));
        let status =
            r#"{"kind": "Status", "status": "Failure", "code": 404, "message": "404 page not found"}"#;
        assert!(!is_missing_path(&error(404, "application/json", status).await));
    }

    #[test]
    fn message_names_address_and_code() {
        let response = ForeignResponse { code: Some(502) };
        assert_eq!(response.at("https://c2"), "no Kubernetes API server answered at https://c2 (HTTP 502)");
        assert_eq!(ForeignResponse { code: None }.to_string(), "no Kubernetes API server answered");
    }
}
