//! The task of a member: it checks the cluster's health, and records changes of its address.

use std::time::Duration;

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::member::Member;
use crate::live::health::Health;
use crate::live::{Wire, said};

/// How long a member may go without an answer before its health is checked.
const SILENCE: Duration = Duration::from_secs(10);

/// The deadline of a health check.
const DEADLINE: Duration = Duration::from_secs(5);

/// The shortest time between two health checks.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the member leaves. Calls `revise` when its address, certificate authority or default namespace changes.
pub(super) async fn tend(member: Member, revise: impl Fn()) {
    let client = Wire::asking(member.access().clone()).into_client();
    let mut way = member.access().watch_way();
    let mut away_for = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let health = tokio::select! {
            health = ask_twice(&member, &client) => health,
            () = leads_elsewhere(&mut way) => {
                revise();
                continue;
            }
        };
        away_for = if health.is_away() { (away_for * 2).clamp(PAUSE, SILENCE) } else { Duration::ZERO };
        note(&member, health);
        tokio::select! {
            () = due(&member, asked, away_for) => {}
            () = leads_elsewhere(&mut way) => revise(),
        }
    }
}

/// Waits until the next health check is due.
async fn due(member: &Member, asked: Instant, away_for: Duration) {
    let soonest = asked + PAUSE.max(away_for);
    if !away_for.is_zero() {
        return sleep_until(soonest).await;
    }
    tokio::select! {
        () = unheard(member) => {}
        () = member.pulse().doubted() => {}
    }
    sleep_until(soonest).await;
}

/// Waits until the member has not answered any request for [`SILENCE`].
async fn unheard(member: &Member) {
    loop {
        let heard = member.pulse().heard().unwrap_or_else(Instant::now);
        if heard.elapsed() >= SILENCE {
            return;
        }
        sleep_until(heard + SILENCE).await;
    }
}

async fn leads_elsewhere(way: &mut Option<watch::Receiver<u64>>) {
    match way {
        Some(receiver) => {
            if receiver.changed().await.is_err() {
                std::future::pending().await
            }
        }
        None => std::future::pending().await,
    }
}

/// Checks an unresponsive cluster once more, over a new connection. Only the old connection may be dead, and all watches
/// of a cluster end when it is considered unresponsive.
async fn ask_twice(member: &Member, client: &Client) -> Health {
    let health = ask(client).await;
    if !health.is_silent() {
        return health;
    }
    member.access().reconnect().await;
    ask(client).await
}

/// Asks the API server whether it is ready. It answers any caller, however busy it is
/// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#health-check-concurrency-exemption>).
async fn ask(client: &Client) -> Health {
    let Ok(request) = Request::get("/readyz").body(Body::empty()) else { return Health::Unknown };
    let away = |problem: String, is_silent| Health::Away { problem: problem.into(), is_silent };
    match timeout(DEADLINE, client.send(request)).await {
        Err(_) => away(format!("no answer within {} s", DEADLINE.as_secs()), true),
        Ok(Err(error)) => away(said(&error), false),
        Ok(Ok(response)) if response.status() == StatusCode::UNAUTHORIZED => Health::Unauthorized,
        Ok(Ok(response)) if response.status().is_server_error() => {
            away(format!("it says that it is not ready ({})", response.status().as_u16()), false)
        }
        Ok(Ok(_)) => Health::Ready,
    }
}

fn note(member: &Member, health: Health) {
    let (cluster, known) = (&**member.name(), member.health());
    match &health {
        Health::Away { problem, .. } if !known.is_away() => warn!(cluster, problem = &**problem, "is away"),
        Health::Unauthorized if known != health => {
            warn!(cluster, "does not accept the credential (401): it has expired or was revoked");
        }
        Health::Ready if !matches!(known, Health::Ready | Health::Unknown) => info!(cluster, "is back"),
        _ => {}
    }
    member.pulse().note(health);
}
