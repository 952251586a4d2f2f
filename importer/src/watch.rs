//! The three watches, each into the cache, and into the queue what that changes.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{IMPORT_NAME, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_client::link::{Link, cluster_name};
use mcsa_client::secret::SecretState;
use mcsa_runtime::errors;
use mcsa_runtime::lease::Fence;

use crate::accounts;
use crate::cache::{Cache, LinkEntry, SeenImport};
use crate::clock::Clock;
use crate::key::ObjectKey;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::source::Source;

/// What the watches fill.
pub struct Watched {
    /// What the watches have seen.
    pub cache: Arc<Cache>,
    /// The imports that are due.
    pub queue: Arc<Queue>,
    /// Whether this replica may write, in sources as well.
    pub fence: Fence,
    /// The wall clock.
    pub clock: Clock,
    /// Counts what happens.
    pub metrics: Metrics,
    /// Whether each watch has told all that there is.
    pub is_synced: tokio::sync::watch::Sender<bool>,
}

/// Watches the imports of all namespaces.
pub async fn imports(client: Client, watched: Arc<Watched>) {
    // A guard for each: one that can't be read must not keep the others from being listed.
    let api = Api::<DeserializeGuard<ServiceAccountImport>>::all(client);
    let events = watcher(api, watcher::Config::default());
    watched.follow("imports", events, import, Cache::see_import).await;
}

/// Watches the metadata of the imports' Secrets.
pub async fn secrets(client: Client, watched: Arc<Watched>) {
    let config = watcher::Config::default().labels(IMPORT_NAME);
    let events = watcher(Api::<PartialObjectMeta<Secret>>::all(client), config);
    let state =
        |secret: PartialObjectMeta<Secret>| (ObjectKey::of(&secret), SecretState::read(&secret.metadata));
    watched.follow("secrets", events, state, Cache::see_secret).await;
}

/// Watches the links, which are few, whole.
pub async fn links(client: Client, watched: Arc<Watched>) {
    let config = watcher::Config::default().labels(&format!("{LINK_LABEL}=true"));
    let events = watcher(Api::<Secret>::namespaced(client, SYSTEM_NAMESPACE), config);
    let link = |secret: Secret| (secret.name_any(), watched.link_entry(&secret));
    watched.follow("links", events, link, Cache::see_link).await;
}

impl Watched {
    /// Follows a watch for ever.
    async fn follow<O, T>(
        &self,
        what: &'static str,
        events: impl Stream<Item = watcher::Result<Event<O>>>,
        read: impl Fn(O) -> T,
        see: impl Fn(&Cache, Event<T>) -> Vec<ObjectKey>,
    ) {
        let mut events = std::pin::pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let complete = matches!(event, Event::InitDone);
                    self.hurry(see(&self.cache, map(event, &read)));
                    if complete {
                        tracing::debug!(watch = what, "all listed");
                        self.is_synced.send_replace(self.cache.is_synced());
                    }
                }
                Err(error) => {
                    self.metrics.watch_interrupted(what);
                    tracing::warn!(
                        watch = what,
                        error = errors::line(&error),
                        "watch interrupted; it is resumed"
                    );
                }
            }
        }
    }

    /// Has imports worked on at once. Those that are gone need no turn: nothing is left of them.
    pub fn hurry(&self, keys: Vec<ObjectKey>) {
        for key in keys {
            match self.cache.import(&key) {
                Some(known) => self.queue.hurry(key, &known.import.spec.cluster_name),
                None => self.queue.forget(&key),
            }
        }
    }

    fn link_entry(self: &Arc<Self>, secret: &Secret) -> LinkEntry {
        let known = self.cache.link_in(&secret.name_any()).and_then(|link| link.source.ok());
        let source = Link::read(secret).map_err(|error| error.to_string()).and_then(|link| {
            let source = Source::new(link, known.clone(), &self.fence, &self.clock, &self.metrics);
            source.map_err(|error| errors::line(error.as_ref()))
        });
        let cluster_name = cluster_name(secret);
        match &source {
            Ok(source) if known.is_some_and(|known| Arc::ptr_eq(&known, source)) => {}
            Ok(source) => {
                tracing::info!(cluster = cluster_name, server = source.endpoint().server, "link");
                source.spawn(accounts::follow(Arc::downgrade(source), Arc::downgrade(self)));
            }
            Err(problem) => tracing::warn!(cluster = cluster_name, reason = "InvalidLink", "{problem}"),
        }
        LinkEntry { cluster_name, source }
    }
}

fn map<O, T>(event: Event<O>, read: impl Fn(O) -> T) -> Event<T> {
    match event {
        Event::Apply(object) => Event::Apply(read(object)),
        Event::Delete(object) => Event::Delete(read(object)),
        Event::InitApply(object) => Event::InitApply(read(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// The import, if it can be read. One that can't be is as good as gone.
fn import(guard: DeserializeGuard<ServiceAccountImport>) -> (ObjectKey, Option<SeenImport>) {
    let key = ObjectKey::of(&guard);
    match guard.0 {
        Ok(import) => (key, Some(SeenImport::of(import))),
        Err(error) => {
            let (namespace, import, error) = (key.namespace(), key.name(), error.to_string());
            tracing::warn!(namespace, import, reason = "Unreadable", error, "can't read this import");
            (key, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_import_that_cannot_be_read_is_passed_over() {
        let object = |cluster: serde_json::Value| {
            json!({
                "metadata": { "namespace": "default", "name": "a" },
                "spec": { "clusterName": cluster, "namespace": "default", "name": "pod-lister" },
            })
        };
        assert!(import(serde_json::from_value(object("c2".into())).unwrap()).1.is_some());
        assert!(import(serde_json::from_value(object(7.into())).unwrap()).1.is_none());
    }
}
