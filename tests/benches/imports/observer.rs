//! Watches the target's imports, and notes when each becomes ready and when each is refreshed.
//!
//! A watch, since a poll would measure its own interval. It runs all the time, also beside the bare
//! loop: what it costs the target, it costs importer and limit alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::api::READY;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use tokio::task::JoinHandle;

/// As long as anything still happens, there is no hurry.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what was noted. The notes have their own times.
const PAUSE: Duration = Duration::from_millis(50);

/// Namespace and name.
pub type Key = (String, String);

/// What is known of the target's imports.
pub struct Observer {
    seen: Arc<Mutex<HashMap<Key, Seen>>>,
    watch: JoinHandle<()>,
}

/// What is known of one import.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When it was first seen to be ready.
    pub ready: Option<Instant>,
    /// When it was last seen to have another refresh time, after that.
    pub refreshed: Option<Instant>,
    /// What it says of itself.
    pub status: Option<ServiceAccountImportStatus>,
}

impl Seen {
    /// When its next refresh is.
    pub fn refresh_time(&self) -> Option<Timestamp> {
        Some(self.status.as_ref()?.refresh_time.as_ref()?.0)
    }
}

impl Observer {
    /// Starts watching.
    pub fn start(target: Client) -> Self {
        let seen = Arc::new(Mutex::default());
        let events = watcher(Api::<ServiceAccountImport>::all(target), Config::default());
        let watch = tokio::spawn({
            let seen = seen.clone();
            async move {
                let mut events = std::pin::pin!(events.default_backoff());
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => note(&mut lock(&seen), event),
                        Err(error) => eprintln!("watching imports: {error}; going on"),
                    }
                }
            }
        });
        Self { seen, watch }
    }

    /// What `look` finds about the imports of the namespaces whose names begin like this.
    pub fn find<T>(&self, prefix: &str, look: impl Fn(&Seen) -> Option<T>) -> Vec<T> {
        let seen = lock(&self.seen);
        let members = seen.iter().filter(|((namespace, _), _)| namespace.starts_with(prefix));
        members.filter_map(|(_, seen)| look(seen)).collect()
    }

    /// When this import became ready, if it did.
    pub fn ready(&self, key: &Key) -> Option<Instant> {
        lock(&self.seen).get(key)?.ready
    }

    /// Waits until `count` imports of such namespaces are `done`, and returns when each of them was, in
    /// order. Fails when nothing happens for a minute.
    pub async fn all(
        &self,
        prefix: &str,
        count: usize,
        what: &str,
        done: impl Fn(&Seen) -> Option<Instant>,
    ) -> anyhow::Result<Vec<Instant>> {
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let mut times = self.find(prefix, &done);
            if times.len() >= count {
                times.sort_unstable();
                return Ok(times);
            }
            if times.len() > most {
                (most, since) = (times.len(), Instant::now());
            }
            if since.elapsed() > PATIENCE {
                let waiting = self.some_not(prefix, &done);
                bail!("{most} of {count} imports are {what}, and no other for {PATIENCE:?}; as {waiting:#?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A few that are not `done`, for an error message.
    fn some_not(&self, prefix: &str, done: impl Fn(&Seen) -> Option<Instant>) -> Vec<(Key, Seen)> {
        let seen = lock(&self.seen);
        let waiting = seen.iter().filter(|((namespace, _), _)| namespace.starts_with(prefix));
        let waiting = waiting.filter(|(_, seen)| done(seen).is_none()).take(3);
        waiting.map(|(key, seen)| (key.clone(), seen.clone())).collect()
    }

    /// Waits until none of them is left.
    pub async fn none(&self, prefix: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.find(prefix, |_| Some(())).is_empty() {
            ensure!(begun.elapsed() < PATIENCE, "some imports that were deleted are still there");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn note(seen: &mut HashMap<Key, Seen>, event: Event<ServiceAccountImport>) {
    match event {
        Event::Apply(import) | Event::InitApply(import) => see(seen.entry(key(&import)).or_default(), import),
        Event::Delete(import) => drop(seen.remove(&key(&import))),
        Event::Init | Event::InitDone => {}
    }
}

fn see(seen: &mut Seen, import: ServiceAccountImport) {
    let is_ready = import.condition(READY).is_some_and(|condition| condition.status == "True");
    let refresh_time = seen.refresh_time();
    seen.status = import.status;
    if seen.ready.is_none() {
        seen.ready = is_ready.then(Instant::now);
    } else if seen.refresh_time() != refresh_time {
        seen.refreshed = Some(Instant::now());
    }
}

/// The key of an import.
pub fn key(import: &ServiceAccountImport) -> Key {
    (import.namespace().unwrap_or_default(), import.name_any())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
