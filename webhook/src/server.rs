//! The HTTP server for reviews.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use mcsa_credentials::contract::webhook::PATH;
use tracing::warn;

use crate::body::{BodyBudget, BodyError, BufferedBody, ConnectionShare};
use crate::imports::Imports;
use crate::metrics::{Metrics, ReviewResult};
use crate::review::review;

const JSON: &str = "application/json";

/// Least time between log lines about invalid requests.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    imports: Arc<Imports>,
    metrics: Metrics,
    budget: BodyBudget,
    /// When an invalid request was last logged.
    last_logged: Mutex<Option<Instant>>,
}

pub(crate) fn router(server: Server) -> Router {
    Router::new().route(PATH, post(mutate_pods)).with_state(Arc::new(server))
}

async fn mutate_pods(State(server): State<Arc<Server>>, request: Request) -> Response {
    // Recorded on drop, because the client may close the connection before the response.
    let mut timer =
        ReviewTimer { metrics: &server.metrics, start: Instant::now(), result: ReviewResult::Dropped };
    let refusal = match respond(&server, request).await {
        Ok((result, response)) => {
            timer.result = result;
            return response;
        }
        Err(refusal) => refusal,
    };
    if refusal.0 != StatusCode::REQUEST_TIMEOUT {
        timer.result = ReviewResult::Refused;
    }
    server.refuse(refusal)
}

/// Why a request gets no review.
type Refusal = (StatusCode, String);

async fn respond(server: &Server, request: Request) -> Result<(ReviewResult, Response), Refusal> {
    let body = read(&server.budget, request).await?;
    // Boxed, so that a request whose body never ends takes little memory.
    let response = Box::pin(review(&body, &server.imports)).await;
    let response = response.map_err(refusal(StatusCode::BAD_REQUEST))?;
    let result = response.result;
    let response = serde_json::to_vec(&response).map_err(refusal(StatusCode::INTERNAL_SERVER_ERROR))?;
    let body = body.into_memory().respond(response).await;
    let body = body.map_err(refusal(StatusCode::SERVICE_UNAVAILABLE))?;
    Ok((result, ([(header::CONTENT_TYPE, JSON)], body).into_response()))
}

fn refusal<E: ToString>(status: StatusCode) -> impl FnOnce(E) -> Refusal {
    move |error| (status, error.to_string())
}

/// Records a request when dropped.
struct ReviewTimer<'a> {
    metrics: &'a Metrics,
    start: Instant,
    result: ReviewResult,
}

impl Drop for ReviewTimer<'_> {
    fn drop(&mut self) {
        self.metrics.record(self.result, self.start.elapsed());
    }
}

impl Server {
    pub(crate) fn new(imports: Arc<Imports>, metrics: Metrics) -> Self {
        Self { imports, metrics, budget: BodyBudget::default(), last_logged: Mutex::default() }
    }

    fn refuse(&self, (status, reason): Refusal) -> Response {
        let mut last = self.last_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > LOG_INTERVAL) {
            *last = Some(Instant::now());
            warn!(status = status.as_u16(), reason, "refused a request that is not a review");
        }
        (status, reason + "\n").into_response()
    }
}

async fn read(budget: &BodyBudget, request: Request) -> Result<BufferedBody, Refusal> {
    if !is_json(request.headers()) {
        let reason = format!("Content-Type must be {JSON}");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let share = request.extensions().get::<ConnectionShare>().cloned().unwrap_or_default();
    budget.read(&share, request.into_body()).await.map_err(|error| {
        let status = match error {
            BodyError::TooLong | BodyError::TooManyObjects { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Aborted => StatusCode::BAD_REQUEST,
            BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
        };
        (status, error.to_string())
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case(JSON)
}

#[cfg(test)]
mod tests;
