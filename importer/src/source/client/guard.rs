//! What a source answers, before anything is made of it.
//!
//! kube reads each body to its end, and takes that of an error for the error's message. A source may be
//! broken or hostile: its answers must not fill the memory that all sources share, and what it, or
//! something before it, repeats of a request must not carry the link's token into a status.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::response::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full, Limited};
use tower::{BoxError, Layer, Service};

use super::refusal::refusal;

const MIB: usize = 1 << 20;

/// So much is read of an error's body. Real ones have less than a tenth of that.
const REFUSAL: usize = 64 << 10;

/// Puts bounds to answers. It belongs where requests have their `Authorization` header already.
#[derive(Clone, Copy, Debug)]
pub struct GuardLayer;

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner }
    }
}

/// A service whose answers have bounds.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
}

/// The body of an answer as it came, or of the [`refusal`] that was made of it.
type Answer<B> = Either<Bounded<B>, Full<<B as Body>::Data>>;

impl<S, R, B> Service<Request<R>> for Guarded<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: AsRef<[u8]> + From<Vec<u8>> + Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let bound = Bound::of(&request);
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            if parts.status.is_success() {
                return Ok(Response::from_parts(parts, Either::Left(Bounded { body, bound, read: 0 })));
            }
            Ok(refused(parts, body, authorization.as_ref()).await)
        })
    }
}

/// The answer that kube is given instead of any but a success.
async fn refused<B>(mut parts: Parts, body: B, authorization: Option<&HeaderValue>) -> Response<Answer<B>>
where
    B: Body,
    B::Data: From<Vec<u8>>,
    B::Error: Into<BoxError>,
{
    // What is longer, or ends early, is no Status.
    let said = Limited::new(body, REFUSAL).collect().await.map(|body| body.to_bytes());
    let authorization = authorization.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = authorization.split_once(' ').map_or(authorization, |(_, token)| token);
    let status = refusal(parts.status, &parts.headers, said.as_deref().unwrap_or_default(), token);
    let body = serde_json::to_vec(&status).unwrap_or_default();
    parts.headers.clear();
    if !parts.status.is_client_error() && !parts.status.is_server_error() {
        // Else kube would look for what it asked for in the body.
        parts.status = StatusCode::BAD_GATEWAY;
    }
    Response::from_parts(parts, Either::Right(Full::new(body.into())))
}

/// How long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// One object.
    Call,
    /// A page of a list.
    List,
    /// A watch: each line of it, and there may be any number.
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
            Self::Call => "the answer",
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

/// There is more of an answer than there may be.
#[derive(Debug, thiserror::Error)]
#[error("{} is longer than {} MiB", .0.what(), .0.bytes() / MIB)]
struct TooLong(Bound);

/// A body that fails where it is longer than it may be.
#[derive(Debug)]
pub struct Bounded<B> {
    body: B,
    bound: Bound,
    /// In all, or since the last line ended.
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
