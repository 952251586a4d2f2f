//! A tower layer that enforces the fence.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::{Method, Request};
use tower::{BoxError, Layer, Service};

use super::fence::Fence;
use crate::errors;

/// A request was rejected or abandoned, because another replica may be writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the lease; only the leader writes")]
pub struct LeaseLost;

impl LeaseLost {
    /// Whether the error, such as a [`kube::Error`], has this cause.
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        errors::causes(error).any(|cause| cause.is::<Self>())
    }
}

/// Rejects requests that write while a [`Fence`] is closed.
#[derive(Clone, Debug)]
pub struct FenceLayer {
    fence: Fence,
}

impl Fence {
    /// Refuses writing requests while the fence is closed; for [`kube::client::ClientBuilder`].
    pub fn layer(&self) -> FenceLayer {
        FenceLayer { fence: self.clone() }
    }
}

impl<S> Layer<S> for FenceLayer {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { fence: self.fence.clone(), inner }
    }
}

/// A service behind a [`Fence`].
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    fence: Fence,
    inner: S,
}

impl<S, B> Service<Request<B>> for Fenced<S>
where
    S: Service<Request<B>>,
    S::Response: 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let term = self.fence.term();
        let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !only_reads && self.fence.left(term).is_none() {
            return Box::pin(async { Err(LeaseLost.into()) });
        }
        let response = self.inner.call(request);
        let response = async { response.await.map_err(Into::into) };
        if only_reads { Box::pin(response) } else { Box::pin(within(self.fence.clone(), term, response)) }
    }
}

/// Awaits the response until the term ends.
async fn within<T>(
    fence: Fence,
    term: u64,
    response: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let mut response = pin!(response);
    let mut ended = pin!(fence.ended(term));
    poll_fn(|context| {
        // `ended` only wakes this task: its timer may fire late after a freeze. hyper may still send a request
        // that it has already received; such a write fails by its precondition.
        if fence.left(term).is_none() || ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(LeaseLost.into()));
        }
        response.as_mut().poll(context)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::fence::Moment;
    use super::super::fence::tests::{LENGTH, opened};
    use super::*;
    use anyhow::Context as _;
    use futures::FutureExt;
    use http::Response;
    use kube::client::{Body, ClientBuilder};
    use rstest::rstest;
    use tokio::time::{Instant, advance};
    use tower::{ServiceExt, service_fn};

    fn request(method: &str) -> Request<Body> {
        Request::builder().method(method).body(Body::empty()).unwrap()
    }

    #[rstest]
    #[case::get("GET", false, 1)]
    #[case::head("HEAD", false, 1)]
    #[case::post("POST", false, 0)]
    #[case::put("PUT", false, 0)]
    #[case::patch("PATCH", false, 0)]
    #[case::delete("DELETE", false, 0)]
    #[case::open("POST", true, 1)]
    #[tokio::test]
    async fn closed_fence_lets_only_reads_pass(
        #[case] method: &str,
        #[case] open: bool,
        #[case] calls: usize,
    ) {
        let called = Arc::new(AtomicUsize::new(0));
        let inner = service_fn(|_: Request<Body>| {
            called.fetch_add(1, Ordering::Relaxed);
            ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        });
        let fence = if open { opened() } else { Fence::initially_closed() };
        let response = fence.layer().layer(inner).oneshot(request(method)).await;
        assert_eq!(response.is_err_and(|error| error.is::<LeaseLost>()), calls == 0);
        assert_eq!(called.load(Ordering::Relaxed), calls);
    }

    #[tokio::test(start_paused = true)]
    async fn pending_request_is_abandoned_when_the_term_ends() {
        let inner = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let start = Instant::now();
        let response = opened().layer().layer(inner).oneshot(request("PATCH")).await;
        assert!(response.unwrap_err().is::<LeaseLost>());
        assert!(start.elapsed() < LENGTH + Duration::from_secs(1));
    }

    #[rstest]
    #[case::follower(false)]
    // The write belongs to the previous term.
    #[case::leading_again(true)]
    #[tokio::test(start_paused = true)]
    async fn frozen_request_is_not_polled_after_the_freeze(#[case] leads_again: bool) {
        let fence = opened();
        let mut polls = 0;
        let response = poll_fn(|_| {
            polls += 1;
            Poll::<Result<(), BoxError>>::Pending
        });
        {
            let mut request = pin!(within(fence.clone(), fence.term(), response));
            assert!(request.as_mut().now_or_never().is_none());
            advance(LENGTH).now_or_never();
            if leads_again {
                fence.extend(Moment::now(), LENGTH);
            }
            assert!(request.now_or_never().unwrap().unwrap_err().is::<LeaseLost>());
        }
        assert_eq!(polls, 1);
    }

    #[tokio::test]
    async fn lease_lost_is_found_in_a_kube_error() {
        let inner = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let fence = Fence::initially_closed();
        let client = ClientBuilder::new(inner, "default").with_layer(&fence.layer()).build();
        let error = client.send(request("POST")).await.unwrap_err();
        assert!(LeaseLost::caused(&error));
        let error = Err::<(), _>(error).context("can't publish").unwrap_err();
        assert!(LeaseLost::caused(error.as_ref()));
        assert!(!LeaseLost::caused(&kube::Error::TlsRequired));
    }
}
