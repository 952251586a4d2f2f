//! What is served over TLS: reviews, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use mcsa_credentials::contract::webhook::PATH;
use tracing::warn;

use crate::body::{Budget, Held, Unread};
use crate::imports::Imports;
use crate::metrics::{Metrics, ReviewResult};
use crate::review::review;

/// Whoever sends what is no review is logged once in this time; each is counted.
const QUIET: Duration = Duration::from_secs(10);

/// What a review needs.
pub(crate) struct Server {
    imports: Arc<Imports>,
    metrics: Metrics,
    budget: Budget,
    /// When a refusal was logged last.
    refused: Mutex<Option<Instant>>,
}

/// The routes.
pub(crate) fn router(server: Server) -> Router {
    Router::new().route(PATH, post(mutate_pods)).with_state(Arc::new(server))
}

async fn mutate_pods(State(server): State<Arc<Server>>, request: Request) -> Response {
    // Counted also when the caller goes away before there is an answer.
    let mut counted =
        Counted { metrics: &server.metrics, start: Instant::now(), result: ReviewResult::Dropped };
    let refusal = match read(&server.budget, request).await {
        Ok(body) => match review(&body, &server.imports).await {
            Ok(answer) => {
                counted.result = answer.result();
                return Json(answer).into_response();
            }
            Err(malformed) => (StatusCode::BAD_REQUEST, malformed.to_string()),
        },
        Err(refusal) => refusal,
    };
    if refusal.0 != StatusCode::REQUEST_TIMEOUT {
        counted.result = ReviewResult::Refused;
    }
    server.refuse(refusal)
}

/// Counts a request, however it ends.
struct Counted<'a> {
    metrics: &'a Metrics,
    start: Instant,
    result: ReviewResult,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.answered(self.result, self.start.elapsed());
    }
}

impl Server {
    /// Pods may name these imports; what is answered is counted.
    pub(crate) fn new(imports: Arc<Imports>, metrics: Metrics) -> Self {
        Self { imports, metrics, budget: Budget::default(), refused: Mutex::default() }
    }

    fn refuse(&self, (status, reason): (StatusCode, String)) -> Response {
        let mut last = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > QUIET) {
            *last = Some(Instant::now());
            warn!(status = status.as_u16(), reason, "refused a request that is no review");
        }
        (status, reason + "\n").into_response()
    }
}

async fn read(budget: &Budget, request: Request) -> Result<Held<'_>, (StatusCode, String)> {
    if !is_json(request.headers()) {
        let reason = "wanted: Content-Type: application/json".to_owned();
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    budget.read(request.into_body()).await.map_err(|unread| {
        let status = match unread {
            Unread::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Unread::BrokeOff => StatusCode::BAD_REQUEST,
            Unread::Late => StatusCode::REQUEST_TIMEOUT,
        };
        (status, unread.to_string())
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests;
