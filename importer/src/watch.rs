//! The watches, each into the cache, and into the queue what that changes: two of each scope, and one of
//! the links.

mod accounts;
pub mod context;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{IMPORT_NAME, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_client::system::link::{Link, cluster_name};
use mcsa_client::system::secret::SecretState;
use mcsa_runtime::errors;
use tokio::sync::Notify;

use self::accounts::is_forbidden;
use self::context::Watched;
use crate::cache::{LinkEntry, SeenImport};
use crate::model::key::ObjectKey;
use crate::model::scope::Scope;
use crate::source::Source;

/// How long a namespace that may be listed no more is left alone, before it is listed anew.
const PAUSE: Duration = Duration::from_secs(10);

/// Watches the imports of a scope, and the metadata of their Secrets.
pub async fn scope(client: Client, scope: Scope, watched: Arc<Watched>) {
    let wanted = Notify::new();
    let imports = imports(client.clone(), &scope, &watched, &wanted);
    tokio::join!(secrets(client, &scope, &watched, &wanted), imports);
}

async fn secrets(client: Client, scope: &Scope, watched: &Watched, wanted: &Notify) {
    let api = scope.api::<PartialObjectMeta<Secret>>(client);
    let state =
        |secret: PartialObjectMeta<Secret>| (ObjectKey::of(&secret), SecretState::read(&secret.metadata));
    let see = |event| {
        let concerned = watched.cache.see_secret(scope, event);
        watched.want_imports(scope, wanted);
        concerned
    };
    loop {
        let events = watcher(api.clone(), watcher::Config::default().labels(IMPORT_NAME));
        watched.follow("secrets", scope, events, state, see).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lists the imports when they are wanted: after the Secrets, and whenever some of these were lost.
async fn imports(client: Client, scope: &Scope, watched: &Watched, wanted: &Notify) {
    // A guard for each: one that can't be read must not keep the others from being listed.
    let api = scope.api::<DeserializeGuard<ServiceAccountImport>>(client);
    let see = |event| {
        let concerned = watched.cache.see_import(scope, event);
        if watched.cache.is_asked() {
            watched.asked.notify_one();
        }
        watched.want_imports(scope, wanted);
        concerned
    };
    wanted.notified().await;
    loop {
        let events = watcher(api.clone(), watcher::Config::default());
        let events = events.inspect_err(|_| watched.cache.note_interrupted(scope));
        let follow = async {
            watched.follow("imports", scope, events, import, see).await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = follow => {}
            () = wanted.notified() => {}
        }
    }
}

/// Watches the links, which are few, whole.
pub async fn links(client: Client, watched: Arc<Watched>) {
    let config = watcher::Config::default().labels(&format!("{LINK_LABEL}=true"));
    let system = Scope::Namespace(SYSTEM_NAMESPACE.into());
    let events = watcher(system.api::<Secret>(client), config);
    let link = |secret: Secret| (secret.name_any(), link_entry(&watched, &secret));
    watched.follow("links", &system, events, link, |event| watched.cache.see_link(event)).await;
}

impl Watched {
    /// Follows a watch for ever; that of a namespace which may be absent, until it may be watched no more:
    /// only a list tells when it may be again.
    async fn follow<O, T>(
        &self,
        what: &'static str,
        scope: &Scope,
        events: impl Stream<Item = watcher::Result<Event<O>>>,
        read: impl Fn(O) -> T,
        see: impl Fn(Event<T>) -> Vec<ObjectKey>,
    ) {
        let namespace = scope.namespace();
        let mut events = std::pin::pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let complete = matches!(event, Event::InitDone);
                    self.hurry(see(map(event, &read)));
                    if complete {
                        tracing::debug!(watch = what, namespace, "all listed");
                        if self.cache.note_forbidden(scope, false) {
                            tracing::info!(namespace, "imports of this namespace can be listed now");
                        }
                        self.is_synced.send_replace(self.cache.is_synced());
                    }
                }
                Err(error) if scope.may_be_absent() && is_forbidden(&error) => {
                    self.note_forbidden(what, scope, &error);
                    if !matches!(error, watcher::Error::InitialListFailed(_)) {
                        return;
                    }
                }
                Err(error) => {
                    self.metrics.watch_interrupted(what);
                    tracing::warn!(
                        watch = what,
                        namespace,
                        error = errors::line(&error),
                        "watch interrupted; it is resumed"
                    );
                }
            }
        }
    }

    /// Says once what is missing. The others go on.
    fn note_forbidden(&self, what: &'static str, scope: &Scope, error: &watcher::Error) {
        if self.cache.note_forbidden(scope, true) {
            tracing::warn!(
                watch = what,
                namespace = scope.namespace(),
                error = errors::line(error),
                "imports of this namespace can't be listed, and are not served until they can be: if there is \
                 such a namespace, its Role is missing (run kubemcsa install --namespaces with all that are to \
                 be served); if there is none any more, take it out of --namespaces"
            );
        }
        self.is_synced.send_replace(self.cache.is_synced());
    }

    fn want_imports(&self, scope: &Scope, wanted: &Notify) {
        if self.cache.wants_imports(scope) {
            wanted.notify_one();
        }
    }
}

fn link_entry(watched: &Arc<Watched>, secret: &Secret) -> LinkEntry {
    let known = watched.cache.link_in(&secret.name_any()).and_then(|link| link.source.ok());
    let source = Link::read(secret).map_err(|error| error.to_string()).and_then(|link| {
        let source = Source::new(link, known.clone(), &watched.fence, &watched.clock, &watched.metrics);
        source.map_err(|error| errors::line(error.as_ref()))
    });
    let cluster_name = cluster_name(secret);
    match &source {
        Ok(source) if known.is_some_and(|known| Arc::ptr_eq(&known, source)) => {}
        Ok(source) => {
            tracing::info!(cluster = cluster_name, server = source.endpoint().server, "link");
            source.spawn(accounts::follow(Arc::downgrade(source), Arc::downgrade(watched)));
        }
        Err(problem) => tracing::warn!(cluster = cluster_name, reason = "InvalidLink", "{problem}"),
    }
    LinkEntry { cluster_name, version: secret.resource_version().unwrap_or_default(), source }
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
