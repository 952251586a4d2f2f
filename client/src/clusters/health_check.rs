//! The task of a member: checks the cluster's health, and observes changes of its address.

use std::time::Duration;

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::member::Member;
use crate::live::health::Health;
use crate::live::{Transport, error_message};

/// How long a member may go without a response before its health is checked.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The deadline of a health check.
const DEADLINE: Duration = Duration::from_secs(5);

/// The shortest time between two health checks.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the member leaves. Calls `revise` when its address, certificate authority or default namespace changes.
pub(super) async fn run(member: Member, revise: impl Fn()) {
    let _reset = ResetHealth(member.clone());
    let client = Transport::for_health_checks(member.access().clone()).into_client();
    let mut endpoint = member.access().watch_endpoint();
    let mut backoff = Duration::ZERO;
    loop {
        let start = Instant::now();
        let health = tokio::select! {
            health = check(&member, &client) => health,
            () = endpoint_changed(&mut endpoint) => {
                revise();
                continue;
            }
        };
        backoff = match health.is_unavailable() {
            true => (backoff * 2).clamp(MIN_INTERVAL, MAX_SILENCE),
            false => Duration::ZERO,
        };
        record(&member, health);
        tokio::select! {
            () = next_check(&member, start, backoff) => {}
            () = endpoint_changed(&mut endpoint) => revise(),
        }
    }
}

/// Resets the health when the task ends. Nothing checks the health any more, so clients that are still in use must not
/// fail because of it.
struct ResetHealth(Member);

impl Drop for ResetHealth {
    fn drop(&mut self) {
        self.0.health_state().set(Health::Unknown);
    }
}

/// Waits until the next health check is due. `backoff` is zero if the cluster is available.
async fn next_check(member: &Member, last_check: Instant, backoff: Duration) {
    let earliest = last_check + MIN_INTERVAL.max(backoff);
    if !backoff.is_zero() {
        return sleep_until(earliest).await;
    }
    tokio::select! {
        () = silence(member) => {}
        () = member.health_state().check_due() => {}
    }
    sleep_until(earliest).await;
}

/// Waits until the member has not responded to any request for [`MAX_SILENCE`].
async fn silence(member: &Member) {
    loop {
        let last_response = member.health_state().last_response().unwrap_or_else(Instant::now);
        if last_response.elapsed() >= MAX_SILENCE {
            return;
        }
        sleep_until(last_response + MAX_SILENCE).await;
    }
}

/// Waits for a change of the endpoint. `None`: it never changes.
async fn endpoint_changed(endpoint: &mut Option<watch::Receiver<u64>>) {
    match endpoint {
        Some(receiver) => {
            if receiver.changed().await.is_err() {
                std::future::pending().await
            }
        }
        None => std::future::pending().await,
    }
}

/// Checks the health. If the cluster does not respond, checks once more over a new connection: the old one may be dead,
/// and all watches of a cluster end when it is considered unresponsive.
async fn check(member: &Member, client: &Client) -> Health {
    let health = check_once(client).await;
    if !health.is_unresponsive() {
        return health;
    }
    member.access().reconnect();
    check_once(client).await
}

/// Requests `/readyz`, to which the API server responds for any caller, however busy it is
/// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#health-check-concurrency-exemption>).
async fn check_once(client: &Client) -> Health {
    let Ok(request) = Request::get("/readyz").body(Body::empty()) else { return Health::Unknown };
    let unavailable =
        |problem: String, is_unresponsive| Health::Unavailable { problem: problem.into(), is_unresponsive };
    match timeout(DEADLINE, client.send(request)).await {
        Err(_) => unavailable(format!("no response within {}s", DEADLINE.as_secs()), true),
        Ok(Err(error)) => unavailable(error_message(&error), false),
        Ok(Ok(response)) if response.status() == StatusCode::UNAUTHORIZED => Health::Unauthorized,
        Ok(Ok(response)) if response.status().is_server_error() => {
            unavailable(format!("it is not ready: /readyz returned {}", response.status().as_u16()), false)
        }
        Ok(Ok(_)) => Health::Ready,
    }
}

/// Records the health, and logs changes.
fn record(member: &Member, health: Health) {
    let (cluster, known) = (&**member.name(), member.health());
    match &health {
        Health::Unavailable { problem, .. } if !known.is_unavailable() => {
            warn!(cluster, problem = &**problem, "cluster is unavailable");
        }
        Health::Unauthorized if known != health => {
            warn!(cluster, "cluster refuses the credential (401): it expired or was revoked");
        }
        Health::Ready if !matches!(known, Health::Ready | Health::Unknown) => {
            info!(cluster, "cluster is available again");
        }
        _ => {}
    }
    member.health_state().set(health);
}
