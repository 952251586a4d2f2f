//! Watches the service accounts of a source, if the link may. When a service account is recreated, its existing
//! tokens become invalid, so its imports must be refreshed at once.
//!
//! Only the UIDs of imported service accounts are kept.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use mcsa_runtime::errors::{self, foreign};

use super::context::WatchContext;
use crate::model::account::Account;
use crate::model::key::ObjectKey;
use crate::source::{Source, is_uid};

/// How often the set of namespaces and the granted rights are checked again.
const RECHECK: Duration = Duration::from_secs(300);

/// Maximum number of namespaces that are watched one by one; each takes a connection.
const MAX_NAMESPACES: usize = 32;

/// Wait before another attempt if the source forbids every watch.
const PAUSE: Duration = Duration::from_secs(60);

/// Follows the service accounts of a source: all of them or, if the link may not list all, those in
/// imported namespaces. If that is forbidden, too, imports notice a change at their next refresh.
///
/// The references are weak, because the source owns this task, and the cache owns the source.
pub async fn follow(source: Weak<Source>, context: Weak<WatchContext>) {
    let Some((follower, mut is_synced)) = Follower::of(&source, &context) else { return };
    // An error means that the context was dropped.
    if is_synced.wait_for(|is_synced| *is_synced).await.is_err() {
        return;
    }
    let client = follower.client.clone();
    loop {
        follower.follow(Api::all(client.clone()), None).await;
        tracing::debug!(cluster = follower.cluster_name, "the link may not watch all service accounts");
        let watches = follower.namespaces().into_iter().map(async |namespace| {
            follower.follow(Api::namespaced(client.clone(), &namespace), Some(&namespace)).await;
        });
        // Forbidden watches end; the others run until the next check.
        drop(tokio::time::timeout(RECHECK, join_all(watches)).await);
        if context.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Applies the events of one source to the cache and the queue.
struct Follower {
    source: Weak<Source>,
    context: Weak<WatchContext>,
    client: Client,
    cluster_name: String,
}

impl Follower {
    fn of(
        source: &Weak<Source>,
        context: &Weak<WatchContext>,
    ) -> Option<(Self, tokio::sync::watch::Receiver<bool>)> {
        let (live_source, live_context) = source.upgrade().zip(context.upgrade())?;
        let follower = Self {
            source: source.clone(),
            context: context.clone(),
            client: live_source.client(),
            cluster_name: live_source.name().to_owned(),
        };
        Some((follower, live_context.is_synced.subscribe()))
    }

    /// Namespaces with minted tokens, up to the maximum. Unverified namespace names are not watched.
    fn namespaces(&self) -> Vec<String> {
        let Some(context) = self.context.upgrade() else { return Vec::new() };
        context.cache.namespaces_of(&self.cluster_name).into_iter().take(MAX_NAMESPACES).collect()
    }

    /// Follows a watch until the source forbids it.
    async fn follow(&self, api: Api<PartialObjectMeta<ServiceAccount>>, namespace: Option<&str>) {
        let events = watcher(api, watcher::Config::default());
        let mut events = std::pin::pin!(events.default_backoff());
        let mut listed = HashMap::new();
        while let Some(event) = events.next().await {
            let Some(context) = self.context.upgrade() else { return };
            let cache = &context.cache;
            let observe = |account: &_, listed| {
                cache.observe_account(&self.cluster_name, &ObjectKey::of(account), &listed)
            };
            let changed = match event {
                Ok(Event::Apply(account)) => observe(&account, Account::Exists(uid(&account))),
                Ok(Event::Delete(account)) => observe(&account, Account::Deleted(uid(&account))),
                Ok(Event::Init) => {
                    // Accounts that are not listed now are deleted.
                    let accounts = cache.accounts_of(&self.cluster_name).into_iter();
                    let matches =
                        |account: &ObjectKey| namespace.is_none_or(|name| name == account.namespace());
                    listed = accounts.filter(matches).map(|account| (account, None)).collect();
                    Vec::new()
                }
                Ok(Event::InitApply(account)) => {
                    if let Some(listed) = listed.get_mut(&ObjectKey::of(&account)) {
                        *listed = Some(uid(&account));
                    }
                    Vec::new()
                }
                Ok(Event::InitDone) => {
                    cache.observe_account_list(&self.cluster_name, &std::mem::take(&mut listed))
                }
                Err(error) if is_forbidden(&error) => {
                    self.set_watched(&context, true);
                    return;
                }
                Err(error) => {
                    if self.set_watched(&context, false) {
                        let error = errors::short(&errors::line(&error));
                        tracing::warn!(cluster = self.cluster_name, error, "can't watch service accounts");
                    }
                    continue;
                }
            };
            self.set_watched(&context, true);
            context.enqueue(changed);
        }
    }

    /// Records whether the watch works; returns whether that changed.
    fn set_watched(&self, context: &WatchContext, is_watched: bool) -> bool {
        let is_changed = self.source.upgrade().is_some_and(|source| source.set_watched(is_watched));
        if is_changed && is_watched {
            tracing::info!(cluster = self.cluster_name, "watching service accounts again");
            context.enqueue(self.source.upgrade().map(|source| source.take_waiting()).unwrap_or_default());
        }
        is_changed
    }
}

fn uid(account: &PartialObjectMeta<ServiceAccount>) -> Arc<str> {
    account.metadata.uid.as_deref().filter(|uid| is_uid(uid)).unwrap_or_default().into()
}

/// Whether a watch can't start, or continue, because a right is missing.
pub fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error as E;
    let (E::InitialListFailed(kube::Error::Api(status))
    | E::WatchStartFailed(kube::Error::Api(status))
    | E::WatchError(status)) = error
    else {
        return false;
    };
    status.code == 403 && foreign::of_status(status).is_none()
}
