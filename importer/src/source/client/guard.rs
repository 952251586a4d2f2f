//! Bounds and sanitizes a source's responses before kube parses them.
//!
//! kube reads each body to its end, and uses an error's body as the message. A source may be broken or
//! hostile: its responses must not exhaust the memory that all sources share, and a body that echoes the
//! request must not carry the link's token into a status.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::response::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full, Limited};
use mcsa_runtime::errors::foreign;
use tower::{BoxError, Layer, Service};

use super::refusal::refusal;

const MIB: usize = 1 << 20;

/// Maximum size of an error's body. Real ones are ten times smaller.
const REFUSAL: usize = 64 << 10;

/// Bounds responses. Its place is below the layer that sets the `Authorization` header.
#[derive(Clone, Copy, Debug)]
pub struct GuardLayer;

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner }
    }
}

/// A service with bounded responses.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
}

/// The body of a success, or of the [`refusal`] that replaces an error.
type ResponseBody<B> = Either<Bounded<B>, Full<<B as Body>::Data>>;

impl<S, R, B> Service<Request<R>> for Guarded<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: AsRef<[u8]> + From<Vec<u8>> + Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let bound = Bound::of(&request);
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let response = self.inner.call(request);
        Box::pin(async move {
            let (parts, body) = response.await?.into_parts();
            if parts.status.is_success() && !foreign::is_html(&parts.headers) {
                return Ok(Response::from_parts(parts, Either::Left(Bounded { body, bound, read: 0 })));
            }
            Ok(status_response(parts, body, authorization.as_ref()).await)
        })
    }
}

/// Replaces a response other than a success, or a page, by a `Status`.
async fn status_response<B>(
    mut parts: Parts,
    body: B,
    authorization: Option<&HeaderValue>,
) -> Response<ResponseBody<B>>
where
    B: Body,
    B::Data: From<Vec<u8>>,
    B::Error: Into<BoxError>,
{
    // A body that is too long or incomplete is no Status.
    let body = Limited::new(body, REFUSAL).collect().await.map(|body| body.to_bytes());
    let authorization = authorization.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = authorization.split_once(' ').map_or(authorization, |(_, token)| token);
    let status = refusal(parts.status, &parts.headers, body.as_deref().unwrap_or_default(), token);
    let body = serde_json::to_vec(&status).unwrap_or_default();
    parts.headers.clear();
    if !parts.status.is_client_error() && !parts.status.is_server_error() {
        // Otherwise kube would parse the body as a success.
        parts.status = StatusCode::BAD_GATEWAY;
    }
    Response::from_parts(parts, Either::Right(Full::new(body.into())))
}

/// Maximum size of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// One object.
    Call,
    /// A page of a list.
    List,
    /// A line of a watch, which has any number of lines.
    Line,
}

impl Bound {
    fn of<R>(request: &Request<R>) -> Self {
        let query = request.uri().query().filter(|_| request.method() == Method::GET).unwrap_or_default();
        let mut parameters = query.split('&');
        if parameters.clone().any(|parameter| matches!(parameter, "watch=true" | "watch=1")) {
            Self::Line
        } else if parameters.any(|parameter| parameter.starts_with("limit=")) {
            Self::List
        } else {
            Self::Call
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Call => "the response",
            Self::List => "a page of the list",
            Self::Line => "a line of the watch",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Call | Self::Line => MIB,
            Self::List => 8 * MIB,
        }
    }
}

/// A response exceeds its bound.
#[derive(Debug, thiserror::Error)]
#[error("{} is longer than {} MiB", .0.what(), .0.bytes() / MIB)]
struct TooLong(Bound);

/// A body that fails when it exceeds its bound.
#[derive(Debug)]
pub struct Bounded<B> {
    body: B,
    bound: Bound,
    /// Bytes in total, or of the current line.
    read: usize,
}

impl<B> Bounded<B> {
    fn count(&mut self, data: &[u8]) -> Result<(), TooLong> {
        let by_line = self.bound == Bound::Line;
        for (number, piece) in data.split(|byte| by_line && *byte == b'\n').enumerate() {
            self.read = if number == 0 { self.read.saturating_add(piece.len()) } else { piece.len() };
            if self.read > self.bound.bytes() {
                return Err(TooLong(self.bound));
            }
        }
        Ok(())
    }
}

impl<B> Body for Bounded<B>
where
    B: Body + Unpin,
    B::Data: AsRef<[u8]>,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|frame| {
            let frame = frame?.map_err(Into::into);
            Some(frame.and_then(|frame| {
                frame.data_ref().map_or(Ok(()), |data| self.count(data.as_ref()))?;
                Ok(frame)
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
