//! Where the certificate is from.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::Instant;
use tracing::warn;

use crate::args::Args;
use crate::certificates::files::Files;
use crate::certificates::generated::Own;
use crate::certificates::secret::Store;
use crate::certificates::serving::{Served, Wanted};
use crate::certificates::trust::Trust;

/// A shorter lifetime than this is for tests.
const SHORT: Duration = Duration::from_secs(3600);

/// Where the certificate is from.
pub(crate) enum Source {
    /// We make it, and all replicas share it.
    Own(Box<Own>),
    /// Someone else puts it into files.
    Files(Box<Files>),
}

impl Source {
    /// The one that the command line wants.
    ///
    /// # Errors
    /// When what it says of lifetimes makes no sense.
    pub(crate) fn of(args: &Args, client: &Client) -> anyhow::Result<Self> {
        if let Some(paths) = args.certificate.files() {
            return Ok(Self::Files(Box::new(Files::new(paths))));
        }
        args.certificate.check()?;
        let lifetime = args.certificate.certificate_lifetime;
        if lifetime < SHORT {
            warn!(?lifetime, "certificates that live for less than an hour are for tests");
        }
        Ok(Self::Own(Box::new(Own::new(Store::new(client.clone()), args.names(), lifetime))))
    }

    /// Waits until there is something else.
    ///
    /// # Errors
    /// When that can't be known for now: why not.
    pub(crate) async fn news(&mut self) -> Result<(), String> {
        match self {
            Self::Own(own) => own.news().await,
            Self::Files(files) => {
                files.news().await;
                Ok(())
            }
        }
    }

    /// What is to be served at this time.
    ///
    /// # Errors
    /// When there is nothing: why not.
    pub(crate) fn wanted(&self, now: Timestamp) -> Result<Wanted, String> {
        match self {
            Self::Own(own) => own.wanted(now),
            Self::Files(files) => files.wanted(now),
        }
    }

    /// Whether nothing newer is there than what is known.
    ///
    /// # Errors
    /// When that can't be told: why not.
    pub(crate) async fn is_up_to_date(&mut self) -> Result<bool, String> {
        match self {
            Self::Own(own) => own.is_up_to_date().await,
            Self::Files(_) => Ok(true),
        }
    }

    /// Takes the next step of a rotation, if it is ours to rotate, and says when to look again.
    ///
    /// # Errors
    /// When it can't be taken: why not.
    pub(crate) async fn step(
        &mut self,
        served: Option<&Served>,
        trust: &Trust,
        now: Timestamp,
        clock: Instant,
    ) -> Result<Option<Duration>, String> {
        match self {
            Self::Own(own) => own.step(served, trust, now, clock).await,
            Self::Files(_) => Ok(None),
        }
    }
}
