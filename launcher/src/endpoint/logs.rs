//! Logs: a response that may never end.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::BoxError;

use super::body::Body;
use super::refusal::Refusal;
use crate::error_response;
use crate::remote_pod::RemotePod;

/// Requests a log, and passes it on as it arrives. The caller's connection sets the pace: the source is read no faster.
pub(super) async fn stream(remote: &RemotePod, uri: &str) -> Result<Response<Body>, Refusal> {
    let cluster = remote.member.name();
    let request = Request::get(uri).body(kube::client::Body::empty());
    let request = request.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let response = remote.member.client().send(request).await;
    let response = response.map_err(|error| Refusal::of_source(cluster, &error))?;
    if response.status() != StatusCode::OK {
        return Err(Refusal::of_source(cluster, &error_response::read(response).await));
    }
    let (parts, body) = response.into_parts();
    let mut response = Response::new(body.map_err(BoxError::from).boxed_unsync());
    let content_type = parts.headers.get(CONTENT_TYPE).cloned();
    let content_type = content_type.unwrap_or(HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}
