//! Response bodies that end when their cluster stops answering.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use kube::client::Body;
use tower::BoxError;

use super::health::Pulse;

/// A request failed because the cluster is considered unresponsive.
#[derive(Debug, thiserror::Error)]
#[error("the cluster is away: {0}")]
pub(super) struct Away(pub(super) Arc<str>);

/// A response body that ends with an error when its cluster becomes unresponsive.
pub(crate) struct Answer {
    body: Body,
    silent: Option<BoxFuture<'static, Arc<str>>>,
}

impl Answer {
    /// A body that never ends early: the cluster's health is not checked.
    pub(super) fn plain(body: Body) -> Self {
        Self { body, silent: None }
    }

    pub(super) fn of(body: Body, pulse: Pulse) -> Self {
        Self { body, silent: Some(pulse.silent().boxed()) }
    }
}

impl HttpBody for Answer {
    type Data = <Body as HttpBody>::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(silent) = &mut self.silent else { return Poll::Pending };
        let problem = ready!(silent.poll_unpin(context));
        Poll::Ready(Some(Err(Away(problem).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
