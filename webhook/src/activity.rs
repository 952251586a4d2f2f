//! When a connection was last used, and when it must be closed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use mcsa_runtime::slots::SlotUsage;
use tokio::time::{Instant, sleep_until};

/// Time in which the first request must arrive. API servers connect when they have one.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time between requests. API servers close idle connections after 90 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Longest duration of a request, until its response is sent. An API server waits for at most 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How often deadlines are computed again, because requests change them.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The requests of a connection. Clones share them.
#[derive(Clone)]
pub(crate) struct Activity {
    usage: SlotUsage,
    requests: Arc<Mutex<Requests>>,
}

struct Requests {
    next_number: u64,
    /// When each open request started.
    open: BTreeMap<u64, Instant>,
    /// When the connection must be closed if no request is open.
    idle_deadline: Instant,
}

/// A request in flight, until it is dropped.
pub(crate) struct OpenRequest {
    number: u64,
    activity: Activity,
}

/// The body of a response, whose request is in flight until it is sent.
struct HeldBody {
    body: Body,
    _request: OpenRequest,
}

impl Activity {
    pub(crate) fn new(usage: SlotUsage) -> Self {
        let idle_deadline = Instant::now() + FIRST_REQUEST_TIMEOUT;
        let requests = Requests { next_number: 0, open: BTreeMap::new(), idle_deadline };
        Self { usage, requests: Arc::new(Mutex::new(requests)) }
    }

    /// Records a new request.
    pub(crate) fn start_request(&self) -> OpenRequest {
        self.usage.touch();
        let mut requests = self.lock();
        let number = requests.next_number;
        requests.next_number += 1;
        requests.open.insert(number, Instant::now());
        OpenRequest { number, activity: self.clone() }
    }

    /// Waits until the connection must be closed: it is idle, or a request takes too long.
    pub(crate) async fn expired(&self) {
        loop {
            let (deadline, now) = (self.lock().deadline(), Instant::now());
            if deadline <= now {
                return;
            }
            sleep_until(deadline.min(now + CHECK_INTERVAL)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn deadline(&self) -> Instant {
        let oldest = self.open.first_key_value();
        oldest.map_or(self.idle_deadline, |(_, start)| *start + REQUEST_TIMEOUT)
    }
}

impl OpenRequest {
    /// Records that the client sends what API servers send.
    pub(crate) fn prove(&self) {
        self.activity.usage.prove();
    }

    /// Keeps the request in flight until the body is sent.
    pub(crate) fn hold(self, body: Body) -> Body {
        Body::new(HeldBody { body, _request: self })
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.activity.usage.touch();
        let mut requests = self.activity.lock();
        requests.open.remove(&self.number);
        requests.idle_deadline = Instant::now() + IDLE_TIMEOUT;
    }
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use mcsa_runtime::slots::Slots;
    use tokio::time::advance;

    fn activity() -> Activity {
        Activity::new(Slots::new(1).take([127, 0, 0, 1].into()).usage())
    }

    async fn expires_after(activity: &Activity) -> Duration {
        let start = Instant::now();
        activity.expired().await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_request_expires_soon() {
        assert_eq!(expires_after(&activity()).await, FIRST_REQUEST_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn used_connection_may_be_idle_for_longer() {
        let activity = activity();
        drop(activity.start_request());
        assert_eq!(expires_after(&activity).await, IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_expires_with_its_oldest_request() {
        let activity = activity();
        let oldest = activity.start_request();
        advance(Duration::from_secs(20)).await;
        // It is in flight until its response is sent.
        let body = activity.start_request().hold(Body::from("text"));
        assert_eq!(expires_after(&activity).await, Duration::from_secs(10));
        drop(oldest);
        assert_eq!(expires_after(&activity).await, Duration::from_secs(20));
        drop(body);
        assert!(activity.expired().now_or_never().is_none());
    }
}
