//! Supplies the certificate: from files, or generated.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::Instant;
use tracing::warn;

use crate::args::Args;
use crate::certificates::files::Files;
use crate::certificates::generated::Generated;
use crate::certificates::serving::Desired;

/// Shorter lifetimes are for tests.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) enum CertificateProvider {
    /// Generated, and shared by all replicas.
    Generated(Box<Generated>),
    /// Maintained by another program.
    Files(Box<Files>),
}

impl CertificateProvider {
    pub(crate) fn of(args: &Args, client: Client) -> Self {
        if let Some(paths) = args.certificate.files() {
            return Self::Files(Box::new(Files::new(paths)));
        }
        let lifetime = args.certificate.certificate_lifetime;
        if lifetime < SHORTEST_LIFETIME {
            warn!(?lifetime, "certificate lifetimes under an hour are only for tests");
        }
        Self::Generated(Box::new(Generated::new(client, args.names(), lifetime)))
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

    /// Maintains the stored certificate; returns when to check again.
    pub(crate) async fn maintain(
        &mut self,
        now: Timestamp,
        instant: Instant,
    ) -> Result<Option<Duration>, String> {
        match self {
            Self::Generated(generated) => generated.maintain(now, instant).await,
            Self::Files(_) => Ok(None),
        }
    }
}
