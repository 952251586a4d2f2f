//! Continuous requests, none of which may fail.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, anyhow, ensure};
use mcsa_tests::eventually;
use tokio::task::JoinSet;

use super::client::call;
use super::fixture::Fixture;

/// Creates pods, and connects to each replica with the CA bundle of the configuration.
pub struct Load {
    fixture: Arc<Fixture>,
    stop: Arc<AtomicBool>,
    reviews: Arc<AtomicUsize>,
    writers: JoinSet<anyhow::Result<()>>,
    clients: JoinSet<anyhow::Result<Certificates>>,
    failed: Option<String>,
}

/// The certificates that one replica has served.
pub type Certificates = BTreeSet<Vec<u8>>;

impl Load {
    pub async fn on(fixture: &Arc<Fixture>, replicas: &[SocketAddr]) -> Self {
        fixture.reviews_pods().await;
        let mut load = Self {
            fixture: fixture.clone(),
            stop: Arc::default(),
            reviews: Arc::default(),
            writers: JoinSet::new(),
            clients: JoinSet::new(),
            failed: None,
        };
        for _ in 0..3 {
            let (fixture, stop, reviews) = (load.fixture.clone(), load.stop.clone(), load.reviews.clone());
            load.writers.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    fixture.review().await.context("a pod was not reviewed")?;
                    reviews.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            });
        }
        for &replica in replicas {
            load.clients.spawn(connect_repeatedly(load.fixture.clone(), replica, load.stop.clone()));
        }
        load
    }

    /// Fails if any request has failed.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let writers = std::iter::from_fn(|| self.writers.try_join_next()).map(|ended| ended?);
        let clients = std::iter::from_fn(|| self.clients.try_join_next()).map(|ended| ended?.map(drop));
        if let Some(Err(error)) = writers.chain(clients).find(Result::is_err) {
            self.failed = Some(format!("{error:#}"));
        }
        self.failed.clone().map_or(Ok(()), |failed| Err(anyhow!(failed)))
    }

    /// Waits for another hundred reviews.
    pub async fn continues(&mut self) -> anyhow::Result<()> {
        let reviews = self.reviews.clone();
        let expected = reviews.load(Ordering::SeqCst) + 100;
        eventually("pods are reviewed", async || {
            let reviews = reviews.load(Ordering::SeqCst);
            ensure!(reviews >= expected || self.check().is_err(), "{reviews} reviews, not {expected}");
            Ok(())
        })
        .await;
        self.check()
    }

    /// Stops the load, and fails if any request has failed. Returns the certificates of each replica.
    pub async fn end(mut self) -> anyhow::Result<Vec<Certificates>> {
        self.continues().await?;
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.writers.join_next().await {
            ended??;
        }
        let mut served = Vec::new();
        while let Some(ended) = self.clients.join_next().await {
            served.push(ended??);
        }
        Ok(served)
    }
}

async fn connect_repeatedly(
    fixture: Arc<Fixture>,
    replica: SocketAddr,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Certificates> {
    let mut served = Certificates::new();
    let mut bundle = fixture.bundle().await?;
    while !stop.load(Ordering::SeqCst) {
        let connected = call(replica, &bundle).await;
        let before = std::mem::replace(&mut bundle, fixture.bundle().await?);
        match connected {
            Ok(handshake) => drop(served.insert(handshake.certificate.to_vec())),
            // The bundle may have changed meanwhile.
            Err(error) => ensure!(bundle != before, "{replica} is not trusted: {error:#}"),
        }
    }
    Ok(served)
}
