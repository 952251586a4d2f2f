//! Measures reviews while the certificate and the connections are replaced every second.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::Args;
use crate::comparison::Comparison;
use crate::fixture::Fixture;
use crate::reviews::{ExpectedResponse, Reviews};
use crate::rounds::{Load, Rounds, Subject, run_alternating};
use crate::server::{Addresses, CertificateSource, Server};
use crate::tls::Authority;

/// Lifetime of a certificate in the folder, and of a connection.
const LIFETIME: Duration = Duration::from_secs(1);

pub struct Rotations {
    /// The webhook with new certificates and connections, and the baseline with only new connections.
    pub rounds: Comparison<Rounds>,
    /// Number of certificates written to the folder.
    pub written: usize,
    /// Number of certificates that connections received.
    pub received: usize,
    /// Number of connections to the webhook.
    pub connections: usize,
}

/// Measures a webhook that reads its certificate from files, and the given baseline.
pub async fn run(
    args: &Args,
    fixture: &Fixture,
    baseline: Server,
    reviews: &Arc<Reviews>,
    authority: &Authority,
) -> anyhow::Result<Rotations> {
    let folder = tempfile::tempdir_in(fixture.cluster.dir())?;
    let addresses = Addresses::free()?;
    let mounted = authority.issue(folder.path())?;
    let certificate_source = CertificateSource::Files(&mounted, authority);
    let webhook = Server::webhook(fixture, "rotations", addresses, addresses, certificate_source).await?;
    let subject = |server, expected| Subject::new(args.connections, server, expected, LIFETIME);
    let subjects = Comparison {
        webhook: subject(webhook, ExpectedResponse::Patch),
        baseline: subject(baseline, ExpectedResponse::NoPatch),
    };

    let load = Load::Rate(args.rate.into());
    let mut written = 1;
    let rounds = tokio::select! {
        rounds = run_alternating(&subjects, load, reviews, args.round(), args.rounds) => rounds?,
        error = rotate(authority, folder.path(), &mut written) => return Err(error),
    };
    let service = &subjects.webhook.service;
    Ok(Rotations { rounds, written, received: service.certificates(), connections: service.opened() })
}

/// Rotates the certificate until that fails.
async fn rotate(authority: &Authority, root: &Path, written: &mut usize) -> anyhow::Error {
    let mut ticks = interval(LIFETIME);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = authority.issue(root).context("rotating the certificate") {
            return error;
        }
        *written += 1;
    }
}
