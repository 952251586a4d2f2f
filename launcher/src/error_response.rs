//! Reads the error that a source responds with.

use http::Response;
use http_body_util::{BodyExt, Collected, Limited};
use kube::core::Status;

/// The most bytes of an error that are read: a source may be hostile.
const MAX_ERROR: usize = 64 * 1024;

/// The error of a response without success.
pub(crate) async fn read(response: Response<kube::client::Body>) -> kube::Error {
    let code = response.status();
    let body = Limited::new(response.into_body(), MAX_ERROR).collect().await;
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let status = serde_json::from_slice::<Status>(&body).ok().filter(|status| !status.message.is_empty());
    let reason = code.canonical_reason().unwrap_or("unknown");
    let status = status.unwrap_or_else(|| Status::failure(&format!("{reason} ({})", code.as_u16()), reason));
    kube::Error::Api(status.with_code(code.as_u16()).boxed())
}
