//! The watches: two for each scope, and those of links and of import policies. Each applies events to the cache and enqueues the
//! imports that they concern.

mod accounts;
pub mod context;
mod objects;
pub mod policies;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use mcsa_client::contract::{IMPORT_NAME, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_credentials::link::{Link, cluster_name};
use mcsa_runtime::errors;
use tokio::sync::Notify;

use self::accounts::is_forbidden;
use self::context::WatchContext;
use self::objects::{PAGE_SIZE, WatchedImport, WatchedSecret};
use crate::cache::LinkEntry;
use crate::model::key::ObjectKey;
use crate::model::scope::Scope;
use crate::source::Source;

/// Wait before a scope whose watch was forbidden is listed again.
const PAUSE: Duration = Duration::from_secs(10);

/// Watches the imports of a scope, and the metadata of their Secrets.
pub async fn scope(client: Client, scope: Scope, context: Arc<WatchContext>) {
    let list_requested = Notify::new();
    let imports = imports(client.clone(), &scope, &context, &list_requested);
    tokio::join!(secrets(client, &scope, &context, &list_requested), imports);
}

async fn secrets(client: Client, scope: &Scope, context: &WatchContext, list_requested: &Notify) {
    let api = scope.api::<WatchedSecret>(client);
    let state = |secret: WatchedSecret| (ObjectKey::of(&secret), secret.kept);
    let observe = |event| {
        let changed = context.cache.observe_secret(scope, event);
        context.request_import_list(scope, list_requested);
        changed
    };
    loop {
        let config = watcher::Config::default().labels(IMPORT_NAME).page_size(PAGE_SIZE);
        let events = watcher(api.clone(), config);
        context.follow("secrets", scope, events, state, observe).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lists the imports after the Secrets, and again whenever Secrets were lost.
async fn imports(client: Client, scope: &Scope, context: &WatchContext, list_requested: &Notify) {
    let api = scope.api::<WatchedImport>(client);
    let import = |import: WatchedImport| (ObjectKey::of(&import), import.kept);
    let observe = |event| {
        let changed = context.cache.observe_import(scope, event);
        if context.cache.has_check_requests() {
            context.check_requested.notify_one();
        }
        context.request_import_list(scope, list_requested);
        changed
    };
    list_requested.notified().await;
    loop {
        let events = watcher(api.clone(), watcher::Config::default().page_size(PAGE_SIZE));
        let events = events.inspect_err(|_| context.cache.record_interruption(scope));
        let follow = async {
            context.follow("imports", scope, events, import, observe).await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = follow => {}
            () = list_requested.notified() => {}
        }
    }
}

/// Watches the Secrets of links, with their values.
pub async fn links(client: Client, context: Arc<WatchContext>) {
    let config = watcher::Config::default().labels(&format!("{LINK_LABEL}=true"));
    let system = Scope::Namespace(SYSTEM_NAMESPACE.into());
    let events = watcher(system.api::<Secret>(client), config);
    let link = |secret: Secret| (secret.name_any(), link_entry(&context, &secret));
    context.follow("links", &system, events, link, |event| context.cache.observe_link(event)).await;
}

impl WatchContext {
    /// Follows a watch. Returns only if the scope may be absent and watching it is forbidden: the caller has
    /// to list it again to find out when that changes.
    async fn follow<O, T>(
        &self,
        what: &'static str,
        scope: &Scope,
        events: impl Stream<Item = watcher::Result<Event<O>>>,
        read: impl Fn(O) -> T,
        observe: impl Fn(Event<T>) -> Vec<ObjectKey>,
    ) {
        let namespace = scope.namespace();
        let mut events = std::pin::pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let complete = matches!(event, Event::InitDone);
                    self.enqueue(observe(map(event, &read)));
                    if complete {
                        tracing::debug!(watch = what, namespace, "list complete");
                        if self.cache.record_forbidden(scope, false) {
                            tracing::info!(namespace, "imports of this namespace can be listed now");
                        }
                        self.is_synced.send_replace(self.cache.is_synced());
                    }
                }
                Err(error) if scope.may_be_absent() && is_forbidden(&error) => {
                    self.report_forbidden(what, scope, &error);
                    if !matches!(error, watcher::Error::InitialListFailed(_)) {
                        return;
                    }
                }
                Err(error) => {
                    self.metrics.watch_interrupted(what);
                    let next = if is_forbidden(&error) {
                        "the importer lacks a right, run kubemcsa install again"
                    } else {
                        "resuming"
                    };
                    tracing::warn!(
                        watch = what,
                        namespace,
                        error = errors::line(&error),
                        "watch interrupted: {next}"
                    );
                }
            }
        }
    }

    /// Logs a missing right once.
    fn report_forbidden(&self, what: &'static str, scope: &Scope, error: &watcher::Error) {
        if self.cache.record_forbidden(scope, true) {
            tracing::warn!(
                watch = what,
                namespace = scope.namespace(),
                error = errors::line(error),
                "imports of this namespace can't be listed and are not served: if the namespace exists, its Role \
                 is missing (run kubemcsa install --namespaces with all namespaces to serve); if it does not, \
                 remove it from --namespaces"
            );
        }
        self.is_synced.send_replace(self.cache.is_synced());
    }

    fn request_import_list(&self, scope: &Scope, list_requested: &Notify) {
        if self.cache.needs_import_list(scope) {
            list_requested.notify_one();
        }
    }
}

fn link_entry(context: &Arc<WatchContext>, secret: &Secret) -> LinkEntry {
    let known = context.cache.link_in(&secret.name_any()).and_then(|link| link.source.ok());
    let source = Link::read(secret).map_err(|error| error.to_string()).and_then(|link| {
        let source = Source::new(link, known.clone(), &context.fence, &context.clock, &context.metrics);
        source.map_err(|error| errors::line(error.as_ref()))
    });
    let cluster_name = cluster_name(secret);
    match &source {
        Ok(source) if known.is_some_and(|known| Arc::ptr_eq(&known, source)) => {}
        Ok(source) => {
            tracing::info!(cluster = cluster_name, server = source.address(), "link");
            source.spawn(accounts::follow(Arc::downgrade(source), Arc::downgrade(context)));
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
