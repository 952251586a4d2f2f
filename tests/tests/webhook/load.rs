//! Requests without a break, none of which may fail.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, anyhow, ensure};
use mcsa_tests::eventually;
use tokio::task::JoinSet;

use super::client::call;
use super::world::World;

/// Pods that are created, and handshakes with each replica by someone who trusts whom the
/// configuration says.
pub struct Load {
    world: Arc<World>,
    stop: Arc<AtomicBool>,
    reviews: Arc<AtomicUsize>,
    writers: JoinSet<anyhow::Result<()>>,
    callers: JoinSet<anyhow::Result<Seen>>,
    failed: Option<String>,
}

/// The certificates that one replica has shown.
pub type Seen = BTreeSet<Vec<u8>>;

impl Load {
    pub async fn on(world: &Arc<World>, replicas: &[SocketAddr]) -> Self {
        world.is_reviewed().await;
        let mut load = Self {
            world: world.clone(),
            stop: Arc::default(),
            reviews: Arc::default(),
            writers: JoinSet::new(),
            callers: JoinSet::new(),
            failed: None,
        };
        for _ in 0..3 {
            let (world, stop, reviews) = (load.world.clone(), load.stop.clone(), load.reviews.clone());
            load.writers.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    world.review().await.context("a pod was not reviewed")?;
                    reviews.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            });
        }
        for &replica in replicas {
            load.callers.spawn(follow(load.world.clone(), replica, load.stop.clone()));
        }
        load
    }

    /// Fails once a request has, and from then on.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let writers = std::iter::from_fn(|| self.writers.try_join_next()).map(|ended| ended?);
        let callers = std::iter::from_fn(|| self.callers.try_join_next()).map(|ended| ended?.map(drop));
        if let Some(Err(error)) = writers.chain(callers).find(Result::is_err) {
            self.failed = Some(format!("{error:#}"));
        }
        self.failed.clone().map_or(Ok(()), |failed| Err(anyhow!(failed)))
    }

    /// Waits for another hundred reviews.
    pub async fn goes_on(&mut self) -> anyhow::Result<()> {
        let reviews = self.reviews.clone();
        let wanted = reviews.load(Ordering::SeqCst) + 100;
        eventually("pods are reviewed", async || {
            let reviews = reviews.load(Ordering::SeqCst);
            ensure!(reviews >= wanted || self.check().is_err(), "{reviews} reviews, not {wanted}");
            Ok(())
        })
        .await;
        self.check()
    }

    /// Ends it; no request may have failed. Gives what each replica has shown.
    pub async fn end(mut self) -> anyhow::Result<Vec<Seen>> {
        self.goes_on().await?;
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.writers.join_next().await {
            ended??;
        }
        let mut seen = Vec::new();
        while let Some(ended) = self.callers.join_next().await {
            seen.push(ended??);
        }
        Ok(seen)
    }
}

async fn follow(world: Arc<World>, replica: SocketAddr, stop: Arc<AtomicBool>) -> anyhow::Result<Seen> {
    let mut seen = Seen::new();
    let mut bundle = world.bundle().await?;
    while !stop.load(Ordering::SeqCst) {
        let called = call(replica, &bundle).await;
        let then = std::mem::replace(&mut bundle, world.bundle().await?);
        match called {
            Ok(shown) => drop(seen.insert(shown.certificate.to_vec())),
            // In between, someone else may have become the one to trust.
            Err(error) => ensure!(bundle != then, "{replica} is not trusted: {error:#}"),
        }
    }
    Ok(seen)
}
