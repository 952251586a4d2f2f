//! The three watches, each into the cache, and into the queue what that changes.

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{IMPORT_NAME, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_client::link::{Link, cluster_name};

use crate::cache::{Cache, LinkEntry, ObjectKey};
use crate::clock::Clock;
use crate::queue::Queue;
use crate::source::Source;
use mcsa_client::secret::SecretState;

/// What a watch fills.
#[derive(Clone)]
pub struct Watched {
    /// What the watches have seen.
    pub cache: Arc<Cache>,
    /// The imports that are due.
    pub queue: Arc<Queue>,
    /// The wall clock.
    pub clock: Clock,
    /// Told whenever a watch has told all that there is.
    pub synced: Arc<tokio::sync::Notify>,
}

/// Watches the imports of all namespaces.
pub async fn imports(client: Client, watched: Watched) {
    let events = watcher(Api::<ServiceAccountImport>::all(client), watcher::Config::default());
    let events = events.map_ok(|event| {
        map(event, |mut import: ServiceAccountImport| {
            import.metadata.managed_fields = None;
            import.metadata.annotations = None;
            (object_key(&import), import)
        })
    });
    watched.follow("imports", events, |cache, event| cache.see_import(event)).await;
}

/// Watches the metadata of the imports' Secrets.
pub async fn secrets(client: Client, watched: Watched) {
    let config = watcher::Config::default().labels(IMPORT_NAME);
    let events = watcher(Api::<PartialObjectMeta<Secret>>::all(client), config);
    let events = events
        .map_ok(|event| map(event, |secret| (object_key(&secret), SecretState::read(&secret.metadata))));
    watched.follow("secrets", events, |cache, event| cache.see_secret(event)).await;
}

/// Watches the links, which are few, whole.
pub async fn links(client: Client, watched: Watched) {
    let config = watcher::Config::default().labels(&format!("{LINK_LABEL}=true"));
    let events = watcher(Api::<Secret>::namespaced(client, SYSTEM_NAMESPACE), config);
    let events = events.map_ok(|event| map(event, |secret| (secret.name_any(), link_entry(&secret))));
    watched.follow("links", events, |cache, event| cache.see_link(event)).await;
}

impl Watched {
    async fn follow<T>(
        &self,
        what: &'static str,
        events: impl Stream<Item = watcher::Result<Event<T>>>,
        see: impl Fn(&Cache, Event<T>) -> Vec<ObjectKey>,
    ) {
        let mut events = std::pin::pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let complete = matches!(event, Event::InitDone);
                    for key in see(&self.cache, event) {
                        self.schedule(key);
                    }
                    if complete {
                        tracing::debug!(watch = what, "all listed");
                        self.synced.notify_one();
                    }
                }
                Err(error) => tracing::warn!(watch = what, %error, "watch interrupted; it is resumed"),
            }
        }
    }

    fn schedule(&self, key: ObjectKey) {
        // An import that is gone needs no turn: nothing is left of it but its entries here.
        if let Some(import) = self.cache.import(&key) {
            self.queue.schedule(key, &import.spec.cluster_name, self.clock.now());
        }
    }
}

fn link_entry(secret: &Secret) -> LinkEntry {
    let source = Link::read(secret)
        .map_err(|error| error.to_string())
        .and_then(|link| Source::new(link).map_err(|error| error.to_string()));
    let cluster_name = cluster_name(secret);
    match &source {
        Ok(source) => tracing::info!(cluster = cluster_name, server = source.endpoint().server, "link"),
        Err(problem) => tracing::warn!(cluster = cluster_name, reason = "InvalidLink", "{problem}"),
    }
    LinkEntry { cluster_name, source: source.map(Arc::new) }
}

fn object_key(object: &impl ResourceExt) -> ObjectKey {
    ObjectKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

fn map<A, B>(event: Event<A>, convert: impl FnOnce(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(convert(object)),
        Event::Delete(object) => Event::Delete(convert(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(convert(object)),
        Event::InitDone => Event::InitDone,
    }
}
