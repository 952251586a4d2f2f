//! Members from imports in an API server.
//!
//! Imports are watched. The Secret of an import is read when the import's status reports a new token, and when the cluster
//! refuses the credential (401) or is unreachable. This needs the
//! rights to `list` and `watch` imports and to `get` their Secrets, but not to list Secrets.

mod feed;
mod names;
mod secret;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use self::feed::Feed;
use super::set::Set;
use super::watch_backoff::WatchBackoff;
use crate::ServiceAccountImport;

/// The timeout of a watch, in seconds. It limits how long a dead connection goes unnoticed.
const WATCH_TIMEOUT: u32 = 60;

/// The interval of retries for imports that could not join.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

type Naming = dyn Fn(&ServiceAccountImport) -> String + Send + Sync;

/// An import, by namespace and name.
type Key = (String, String);

/// Selects the imports that become members. Links (the imports of the importer itself) never do.
#[derive(Clone)]
#[must_use]
pub struct Imports {
    client: Client,
    namespace: Option<String>,
    labels: Option<String>,
    name: Arc<Naming>,
}

impl Imports {
    /// The imports of a namespace. `client` is a client of the cluster that has them. Members have the names of their
    /// imports.
    pub fn in_namespace(client: &Client, namespace: &str) -> Self {
        let name = |import: &ServiceAccountImport| import.name_any();
        Self { client: client.clone(), namespace: Some(namespace.into()), labels: None, name: Arc::new(name) }
    }

    /// The imports of all namespaces. Their members are named `<namespace>.<name>`.
    pub fn in_all_namespaces(client: &Client) -> Self {
        let name = |import: &ServiceAccountImport| {
            format!("{}.{}", import.namespace().unwrap_or_default(), import.name_any())
        };
        Self { client: client.clone(), namespace: None, labels: None, name: Arc::new(name) }
    }

    /// Selects imports by labels, in the syntax of `kubectl get --selector`.
    pub fn labels(mut self, selector: &str) -> Self {
        self.labels = Some(selector.to_owned());
        self
    }

    /// Changes how members are named, for example by `spec.clusterName` if each cluster has one import. An import that
    /// gets another name, or names another service account, leaves and joins again as another member.
    ///
    /// If several imports get the same name, the oldest has it, even while it has no credential: a name never switches
    /// to another identity for a short time. The next one joins when the import is deleted. If they were created in
    /// the same second, the first by namespace and name has it.
    pub fn named(mut self, name: impl Fn(&ServiceAccountImport) -> String + Send + Sync + 'static) -> Self {
        self.name = Arc::new(name);
        self
    }

    /// Adds and removes members as the imports change. Calls `on_synced` once each import of the first list has joined
    /// or failed to.
    pub(super) async fn watch(self, set: Set, on_synced: impl FnOnce()) {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let config = watcher::Config { label_selector: self.labels.clone(), ..Default::default() }
            .timeout(WATCH_TIMEOUT);
        let mut events = pin!(watcher(api, config));
        let (mut backoff, mut next_poll) = (WatchBackoff::default(), Instant::now());
        let mut feed = Feed::new(self, set);
        let mut retry = tokio::time::interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut on_synced = Some(on_synced);
        loop {
            tokio::select! {
                event = async {
                    sleep_until(next_poll).await;
                    events.next().await
                } => {
                    let Some(event) = event else { return };
                    next_poll = Instant::now() + backoff.pause_after(&event);
                    match event {
                        Ok(event) => feed.handle(event),
                        Err(error) => feed.log_watch_error(&error),
                    }
                }
                Some(()) = feed.finish_read() => {}
                _ = retry.tick() => feed.retry_failed(),
            }
            if feed.is_synced()
                && let Some(on_synced) = on_synced.take()
            {
                on_synced();
            }
        }
    }
}

fn key(import: &ServiceAccountImport) -> Key {
    (import.namespace().unwrap_or_default(), import.name_any())
}

impl fmt::Debug for Imports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, labels, .. } = self;
        formatter.debug_struct("Imports").field("namespace", namespace).field("labels", labels).finish()
    }
}
