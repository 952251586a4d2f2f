//! Requests without a break, none of which may fail.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use crate::client::call;
use crate::world::World;

/// Pods that are created, and handshakes with each replica by someone who trusts whom the
/// configuration says.
pub struct Load {
    world: Arc<World>,
    stop: Arc<AtomicBool>,
    reviews: Arc<AtomicUsize>,
    writers: JoinSet<anyhow::Result<()>>,
    callers: JoinSet<anyhow::Result<Seen>>,
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

    /// Fails as soon as a request has.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.writers.try_join_next() {
            ended??;
        }
        if let Some(ended) = self.callers.try_join_next() {
            ended??;
        }
        Ok(())
    }

    /// Waits for another hundred reviews.
    pub async fn goes_on(&mut self) -> anyhow::Result<()> {
        let before = self.reviews.load(Ordering::SeqCst);
        while self.reviews.load(Ordering::SeqCst) < before + 100 {
            self.check().await?;
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(())
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
