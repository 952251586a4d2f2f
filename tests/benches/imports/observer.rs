//! Watches the target's imports, and records when each becomes ready and when it is refreshed.
//!
//! It watches, because polling would measure its own interval. It also runs during the baseline loops, so that it costs
//! them the same as the importer.

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

/// How long to wait without any progress.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Interval at which waiting functions look at the records. The records have their own times.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Namespace and name.
pub type Key = (String, String);

/// The observed state of the target's imports.
pub struct Observer {
    observed: Arc<Mutex<HashMap<Key, Observed>>>,
    watch: JoinHandle<()>,
}

/// The observed state of one import.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// When it was first observed to be ready.
    pub ready: Option<Instant>,
    /// When its refresh time last changed after that.
    pub refreshed: Option<Instant>,
    pub status: Option<ServiceAccountImportStatus>,
}

impl Observed {
    /// When its next refresh is due.
    pub fn refresh_time(&self) -> Option<Timestamp> {
        Some(self.status.as_ref()?.refresh_time.as_ref()?.0)
    }
}

impl Observer {
    pub fn start(target: Client) -> Self {
        let observed = Arc::new(Mutex::default());
        let events = watcher(Api::<ServiceAccountImport>::all(target), Config::default());
        let watch = tokio::spawn({
            let observed = observed.clone();
            async move {
                let mut events = std::pin::pin!(events.default_backoff());
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => record(&mut lock(&observed), event),
                        Err(error) => eprintln!("watching imports: {error}; retrying"),
                    }
                }
            }
        });
        Self { observed, watch }
    }

    /// Applies `look` to the imports in namespaces with this prefix, and returns its results.
    pub fn find<T>(&self, prefix: &str, look: impl Fn(&Observed) -> Option<T>) -> Vec<T> {
        let observed = lock(&self.observed);
        let members = observed.iter().filter(|((namespace, _), _)| namespace.starts_with(prefix));
        members.filter_map(|(_, observed)| look(observed)).collect()
    }

    pub fn ready(&self, key: &Key) -> Option<Instant> {
        lock(&self.observed).get(key)?.ready
    }

    /// Waits until `count` imports in namespaces with this prefix are `done`, and returns their times in order. Fails
    /// after a minute without progress.
    pub async fn wait_for_all(
        &self,
        prefix: &str,
        count: usize,
        what: &str,
        done: impl Fn(&Observed) -> Option<Instant>,
    ) -> anyhow::Result<Vec<Instant>> {
        let (mut count_done, mut since) = (0, Instant::now());
        loop {
            let mut times = self.find(prefix, &done);
            if times.len() >= count {
                times.sort_unstable();
                return Ok(times);
            }
            if times.len() > count_done {
                (count_done, since) = (times.len(), Instant::now());
            }
            if since.elapsed() > TIMEOUT {
                let waiting = self.waiting(prefix, &done);
                bail!(
                    "{count_done} of {count} imports are {what}, without progress for {TIMEOUT:?}; \
                     not {what}: {waiting:#?}"
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// A few imports that are not `done`, for an error message.
    fn waiting(&self, prefix: &str, done: impl Fn(&Observed) -> Option<Instant>) -> Vec<(Key, Observed)> {
        let observed = lock(&self.observed);
        let waiting = observed.iter().filter(|((namespace, _), _)| namespace.starts_with(prefix));
        let waiting = waiting.filter(|(_, observed)| done(observed).is_none()).take(3);
        waiting.map(|(key, observed)| (key.clone(), observed.clone())).collect()
    }

    /// Waits until no import is left in namespaces with this prefix.
    pub async fn wait_until_gone(&self, prefix: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self.find(prefix, |_| Some(())).is_empty() {
            ensure!(started.elapsed() < TIMEOUT, "some deleted imports still exist");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn record(observed: &mut HashMap<Key, Observed>, event: Event<ServiceAccountImport>) {
    match event {
        Event::Apply(import) | Event::InitApply(import) => {
            update(observed.entry(key(&import)).or_default(), import)
        }
        Event::Delete(import) => drop(observed.remove(&key(&import))),
        Event::Init | Event::InitDone => {}
    }
}

fn update(observed: &mut Observed, import: ServiceAccountImport) {
    let is_ready = import.condition(READY).is_some_and(|condition| condition.status == "True");
    let refresh_time = observed.refresh_time();
    observed.status = import.status;
    if observed.ready.is_none() {
        observed.ready = is_ready.then(Instant::now);
    } else if observed.refresh_time() != refresh_time {
        observed.refreshed = Some(Instant::now());
    }
}

pub fn key(import: &ServiceAccountImport) -> Key {
    (import.namespace().unwrap_or_default(), import.name_any())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
