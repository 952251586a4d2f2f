//! Supplies the certificate: from files, or generated.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::Instant;
use tracing::warn;

use crate::args::Args;
use crate::certificates::files::Files;
use crate::certificates::generated::Generated;
use crate::certificates::secret::SecretStore;
use crate::certificates::serving::{Desired, Served};
use crate::certificates::trust::TrustHistory;

/// Shorter lifetimes are for tests.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) enum CertificateProvider {
    /// Generated, and shared by all replicas.
    Generated(Box<Generated>),
    /// Maintained by another program.
    Files(Box<Files>),
}

impl CertificateProvider {
    pub(crate) fn of(args: &Args, client: &Client) -> anyhow::Result<Self> {
        if let Some(paths) = args.certificate.files() {
            return Ok(Self::Files(Box::new(Files::new(paths))));
        }
        args.certificate.check()?;
        let lifetime = args.certificate.certificate_lifetime;
        if lifetime < SHORTEST_LIFETIME {
            warn!(?lifetime, "certificate lifetimes under an hour are only for tests");
        }
        Ok(Self::Generated(Box::new(Generated::new(
            SecretStore::new(client.clone()),
            args.names(),
            lifetime,
        ))))
    }

    /// Waits until the certificate changes.
    pub(crate) async fn changed(&mut self) -> Result<(), String> {
        match self {
            Self::Generated(generated) => generated.changed().await,
            Self::Files(files) => {
                files.changed().await;
                Ok(())
            }
        }
    }

    pub(crate) fn desired(&self, now: Timestamp) -> Result<Desired, String> {
        match self {
            Self::Generated(generated) => generated.desired(now),
            Self::Files(files) => files.desired(now),
        }
    }

    /// Whether the last observed certificate is the newest.
    pub(crate) async fn is_up_to_date(&mut self) -> Result<bool, String> {
        match self {
            Self::Generated(generated) => generated.is_up_to_date().await,
            Self::Files(_) => Ok(true),
        }
    }

    /// Takes the next rotation step of a generated certificate; returns when the next one is due.
    pub(crate) async fn rotate(
        &mut self,
        served: Option<&Served>,
        trust: &TrustHistory,
        now: Timestamp,
        instant: Instant,
    ) -> Result<Option<Duration>, String> {
        match self {
            Self::Generated(generated) => generated.rotate(served, trust, now, instant).await,
            Self::Files(_) => Ok(None),
        }
    }
}
