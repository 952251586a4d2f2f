//! Response bodies that end when their cluster stops responding.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use kube::client::Body;
use tower::BoxError;

use super::health::HealthState;

/// A request failed because the cluster is considered unresponsive.
#[derive(Debug, thiserror::Error)]
#[error("the cluster is unresponsive: {0}")]
pub(super) struct Unresponsive(pub(super) Arc<str>);

/// A response body that ends with an error when its cluster becomes unresponsive.
pub(crate) struct ResponseBody {
    body: Body,
    unresponsive: Option<BoxFuture<'static, Arc<str>>>,
}

impl ResponseBody {
    /// A body that never ends early: the cluster's health is not checked.
    pub(super) fn unchecked(body: Body) -> Self {
        Self { body, unresponsive: None }
    }

    pub(super) fn new(body: Body, health: HealthState) -> Self {
        Self { body, unresponsive: Some(health.becomes_unresponsive().boxed()) }
    }
}

impl HttpBody for ResponseBody {
    type Data = <Body as HttpBody>::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(unresponsive) = &mut self.unresponsive else { return Poll::Pending };
        let problem = ready!(unresponsive.poll_unpin(context));
        Poll::Ready(Some(Err(Unresponsive(problem).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
