//! The importer in this process: a test can change its clock, and end it between two steps.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_importer::Clock;
use mcsa_importer::Controller;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::scene::Imports;

/// A running importer.
#[derive(Debug)]
pub struct Importer {
    /// Its clock.
    pub clock: Clock,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Importer {
    /// Starts it with the rights of the importer that is installed in the target.
    pub async fn of(target: &Cluster) -> anyhow::Result<Self> {
        Ok(Self::start(target.client_of(SYSTEM_NAMESPACE, "importer").await?))
    }

    /// Starts it with this client.
    pub fn start(client: Client) -> Self {
        let clock = Clock::system();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(Controller::without_election(client, clock.clone()).run(shutdown));
        Self { clock, stop, task }
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.task.await?
    }

    /// Ends it at once, as SIGKILL does.
    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    /// Sets its clock to just after the import's refresh time.
    pub async fn turn_to_refresh(&self, imports: &Imports, name: &str) -> anyhow::Result<()> {
        let refresh = imports.refresh_time(name).await?;
        self.turn_to(refresh + SignedDuration::from_secs(1));
        Ok(())
    }

    /// Sets its clock forward to a time; does nothing if that is past.
    pub fn turn_to(&self, time: Timestamp) {
        let rest = time.duration_since(self.clock.now());
        if rest.is_positive() {
            self.clock.turn(rest);
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
