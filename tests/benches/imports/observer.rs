//! Watches the target's imports, and records when each becomes ready and when it is refreshed.
//!
//! A watch, because polling would measure its own interval. It also runs beside the bare loops, so that it costs
//! importer and limit the same.

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

/// Deadline without any progress.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Interval of reading the records, which have their own times.
const PAUSE: Duration = Duration::from_millis(50);

/// Namespace and name.
pub type Key = (String, String);

/// The observed state of the target's imports.
pub struct Observer {
    seen: Arc<Mutex<HashMap<Key, Seen>>>,
    watch: JoinHandle<()>,
}

/// The observed state of one import.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When it was first observed to be ready.
    pub ready: Option<Instant>,
    /// When its refresh time last changed after that.
    pub refreshed: Option<Instant>,
    pub status: Option<ServiceAccountImportStatus>,
}

impl Seen {
    /// The time of its next refresh.
    pub fn refresh_time(&self) -> Option<Timestamp> {
        Some(self.status.as_ref()?.refresh_time.as_ref()?.0)
    }
}

impl Observer {
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
                        Err(error) => eprintln!("watching imports: {error}; retrying"),
                    }
                }
            }
        });
        Self { seen, watch }
    }

    /// The results of `look` for the imports in namespaces with this name prefix.
    pub fn find<T>(&self, prefix: &str, look: impl Fn(&Seen) -> Option<T>) -> Vec<T> {
        let seen = lock(&self.seen);
        let members = seen.iter().filter(|((namespace, _), _)| namespace.starts_with(prefix));
        members.filter_map(|(_, seen)| look(seen)).collect()
    }

    pub fn ready(&self, key: &Key) -> Option<Instant> {
        lock(&self.seen).get(key)?.ready
    }

    /// Waits until `count` imports in namespaces with this name prefix are `done`, and returns their times in order.
    /// Fails without progress for a minute.
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
            if since.elapsed() > TIMEOUT {
                let waiting = self.some_not(prefix, &done);
                bail!("{most} of {count} imports are {what}, and no other for {TIMEOUT:?}; as {waiting:#?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A few imports that are not `done`, for an error message.
    fn some_not(&self, prefix: &str, done: impl Fn(&Seen) -> Option<Instant>) -> Vec<(Key, Seen)> {
        let seen = lock(&self.seen);
        let waiting = seen.iter().filter(|((namespace, _), _)| namespace.starts_with(prefix));
        let waiting = waiting.filter(|(_, seen)| done(seen).is_none()).take(3);
        waiting.map(|(key, seen)| (key.clone(), seen.clone())).collect()
    }

    /// Waits until none of the imports is left.
    pub async fn none(&self, prefix: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self.find(prefix, |_| Some(())).is_empty() {
            ensure!(started.elapsed() < TIMEOUT, "some deleted imports still exist");
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

pub fn key(import: &ServiceAccountImport) -> Key {
    (import.namespace().unwrap_or_default(), import.name_any())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
