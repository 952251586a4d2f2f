//! Bodies of responses.

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use tower::BoxError;

pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is complete.
pub(super) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}
