//! The importer in this process. A test can advance its clock, and abort it between two steps.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_importer::Clock;
use mcsa_importer::Controller;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::fixtures::Imports;

/// A running importer.
#[derive(Debug)]
pub struct Importer {
    /// The importer's clock.
    pub clock: Clock,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Importer {
    /// Starts an importer with the rights of the one that is installed in the target.
    pub async fn of(target: &Cluster) -> anyhow::Result<Self> {
        Ok(Self::start(target.client_of(SYSTEM_NAMESPACE, "importer").await?))
    }

    /// Starts an importer with this client.
    pub fn start(client: Client) -> Self {
        let clock = Clock::system();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(Controller::without_election(client, clock.clone()).run(shutdown));
        Self { clock, stop, task }
    }

    /// Shuts the importer down, as SIGTERM does.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.task.await?
    }

    /// Aborts the importer, as SIGKILL does.
    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    /// Advances the clock to just after the import's refresh time.
    pub async fn advance_to_refresh(&self, imports: &Imports, name: &str) -> anyhow::Result<()> {
        let refresh = imports.refresh_time(name).await?;
        self.advance_to(refresh + SignedDuration::from_secs(1));
        Ok(())
    }

    /// Advances the clock to a time, unless that is past.
    pub fn advance_to(&self, time: Timestamp) {
        let rest = time.duration_since(self.clock.now());
        if rest.is_positive() {
            self.clock.advance(rest);
        }
    }
}

impl Imports {
    /// The refresh time in the import's status.
    pub async fn refresh_time(&self, name: &str) -> anyhow::Result<Timestamp> {
        let status = self.api.get(name).await?.status.context("the import has no status")?;
        Ok(status.refresh_time.context("the import's status has no refresh time")?.0)
    }
}
