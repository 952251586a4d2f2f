//! What is served: reviews, and whether this replica is alive and ready.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mcsa_client::contract::webhook::PATH;
use tokio::time::timeout;
use tracing::warn;

use crate::imports::Imports;
use crate::ready::Readiness;
use crate::review::review;

/// The largest review that is read. The API server stores objects of at most 1.5 MiB; a review
/// has two, and its own text.
const BODY_LIMIT: usize = 7 * 1024 * 1024;

/// How long a body may take to come. The API server waits 5 s for our answer.
const BODY_DEADLINE: Duration = Duration::from_secs(5);

/// What the routes need.
pub struct Server {
    /// The imports that pods may name.
    pub imports: Arc<Imports>,
    /// What stands, and what does not.
    pub readiness: Arc<Readiness>,
}

/// The routes.
pub fn router(server: Server) -> Router {
    Router::new()
        .route(PATH, post(mutate_pods))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Arc::new(server))
}

async fn mutate_pods(State(server): State<Arc<Server>>, request: Request) -> Response {
    let body = match read(request).await {
        Ok(body) => body,
        Err((status, reason)) => return refuse(status, reason),
    };
    match review(&body, &server.imports).await {
        Ok(answer) => Json(answer).into_response(),
        Err(malformed) => refuse(StatusCode::BAD_REQUEST, malformed.to_string()),
    }
}

async fn readyz(State(server): State<Arc<Server>>) -> Response {
    let missing = server.readiness.missing();
    if missing.is_empty() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
    }
}

async fn read(request: Request) -> Result<Bytes, (StatusCode, String)> {
    if !is_json(request.headers()) {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wanted: Content-Type: application/json".to_owned(),
        ));
    }
    match timeout(BODY_DEADLINE, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(rejection)) => Err((rejection.status(), rejection.body_text())),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned())),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn refuse(status: StatusCode, reason: String) -> Response {
    warn!(status = status.as_u16(), reason, "refused a request that is no review");
    (status, reason + "\n").into_response()
}

#[cfg(test)]
mod tests;
