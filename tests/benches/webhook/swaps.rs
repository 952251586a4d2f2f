//! Replaces the certificate and the connections every second.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Args;
use crate::both::Both;
use crate::fixture::Fixture;
use crate::reviews::{Answer, Reviews};
use crate::rounds::{Load, Rounds, Side, take_turns};
use crate::server::{Identity, Place, Server};
use crate::tls::Authority;

/// Lifetime of a certificate in the folder, and of a connection.
const EACH: Duration = Duration::from_secs(1);

pub struct Swaps {
    /// The webhook with swaps, and the limit with only new connections.
    pub rounds: Both<Rounds>,
    /// Number of certificates written to the folder.
    pub swaps: usize,
    /// Number of certificates that connections received.
    pub shown: usize,
    /// Number of connections to the webhook.
    pub connections: usize,
}

/// Measures a webhook that reads its certificate from files, and the given limit.
pub async fn run(
    args: &Args,
    fixture: &Fixture,
    limit: Server,
    reviews: &Arc<Reviews>,
    authority: &Authority,
) -> anyhow::Result<Swaps> {
    let folder = tempfile::tempdir_in(fixture.cluster.dir())?;
    let place = Place::free()?;
    let mounted = authority.issue(folder.path())?;
    let identity = Identity::Files(&mounted, authority);
    let webhook = Server::webhook(fixture, "swaps", place, place, identity).await?;
    let side = |server, answer| Side::new(args.connections, server, answer, EACH);
    let sides = Both { webhook: side(webhook, Answer::Patch), limit: side(limit, Answer::Nothing) };

    let load = Load::Rate(args.rate.into());
    let mut swaps = 1;
    let rounds = tokio::select! {
        rounds = take_turns(&sides, load, reviews, args.round(), args.rounds) => rounds?,
        error = swap(authority, folder.path(), &mut swaps) => return Err(error),
    };
    let service = &sides.webhook.service;
    Ok(Swaps { rounds, swaps, shown: service.certificates(), connections: service.opened() })
}

/// Swaps the certificate until that fails.
async fn swap(authority: &Authority, root: &Path, swaps: &mut usize) -> anyhow::Error {
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = authority.issue(root).context("swapping the certificate") {
            return error;
        }
        *swaps += 1;
    }
}
