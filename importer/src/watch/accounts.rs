//! The service accounts of a source, watched where the link may: one that was deleted and made anew
//! has invalidated the tokens of the old one, and their imports must not wait for their next refresh.
//!
//! Nothing of a service account is kept but its UID, and that only of those that are imported.

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
use mcsa_runtime::errors;

use super::context::Watched;
use crate::model::account::Account;
use crate::model::key::ObjectKey;
use crate::source::{Source, is_uid};

/// How often it is looked whether other namespaces are imported from, or other rights were granted.
const RECHECK: Duration = Duration::from_secs(300);

/// In how many namespaces at most, where not all can be watched: each takes a connection.
const NAMESPACES: usize = 32;

/// How long a source that forbids everything is left alone.
const PAUSE: Duration = Duration::from_secs(60);

/// Follows the service accounts of a source: all, or, where the link may not see all, those of the
/// namespaces that are imported from. Where it may not see these either, their imports find out at
/// the next refresh.
///
/// It holds on to neither, since it belongs to the source, and the source to the cache.
pub async fn follow(source: Weak<Source>, watched: Weak<Watched>) {
    let Some((follower, mut is_synced)) = Follower::of(&source, &watched) else { return };
    // Ends with an error when nobody is left to tell.
    if is_synced.wait_for(|is_synced| *is_synced).await.is_err() {
        return;
    }
    let client = follower.client.clone();
    loop {
        follower.follow(Api::all(client.clone()), None).await;
        tracing::debug!(cluster = follower.cluster_name, "the link may not watch all service accounts");
        let each = follower.namespaces().into_iter().map(async |namespace| {
            follower.follow(Api::namespaced(client.clone(), &namespace), Some(&namespace)).await;
        });
        // They end when they are forbidden; the others go on until it is time to look again.
        drop(tokio::time::timeout(RECHECK, join_all(each)).await);
        if watched.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tells the cache and the queue what a source says.
struct Follower {
    source: Weak<Source>,
    watched: Weak<Watched>,
    client: Client,
    cluster_name: String,
}

impl Follower {
    fn of(
        source: &Weak<Source>,
        watched: &Weak<Watched>,
    ) -> Option<(Self, tokio::sync::watch::Receiver<bool>)> {
        let (there, target) = source.upgrade().zip(watched.upgrade())?;
        let follower = Self {
            source: source.clone(),
            watched: watched.clone(),
            client: there.client(),
            cluster_name: there.name().to_owned(),
        };
        Some((follower, target.is_synced.subscribe()))
    }

    /// Some namespaces of which tokens were minted. Names that anyone can make up are not followed.
    fn namespaces(&self) -> Vec<String> {
        let Some(watched) = self.watched.upgrade() else { return Vec::new() };
        watched.cache.namespaces_of(&self.cluster_name).into_iter().take(NAMESPACES).collect()
    }

    /// Follows a watch until the source forbids it.
    async fn follow(&self, api: Api<PartialObjectMeta<ServiceAccount>>, namespace: Option<&str>) {
        let events = watcher(api, watcher::Config::default());
        let mut events = std::pin::pin!(events.default_backoff());
        let mut told = HashMap::new();
        while let Some(event) = events.next().await {
            let Some(watched) = self.watched.upgrade() else { return };
            let cache = &watched.cache;
            let see =
                |account: &_, told| cache.see_account(&self.cluster_name, &ObjectKey::of(account), &told);
            let changed = match event {
                Ok(Event::Apply(account)) => see(&account, Account::Is(uid(&account))),
                Ok(Event::Delete(account)) => see(&account, Account::Gone(uid(&account))),
                Ok(Event::Init) => {
                    // Those that are not listed now are gone.
                    let accounts = cache.accounts_of(&self.cluster_name).into_iter();
                    let is_meant =
                        |account: &ObjectKey| namespace.is_none_or(|name| name == account.namespace());
                    told = accounts.filter(is_meant).map(|account| (account, None)).collect();
                    Vec::new()
                }
                Ok(Event::InitApply(account)) => {
                    if let Some(told) = told.get_mut(&ObjectKey::of(&account)) {
                        *told = Some(uid(&account));
                    }
                    Vec::new()
                }
                Ok(Event::InitDone) => cache.see_accounts(&self.cluster_name, &std::mem::take(&mut told)),
                Err(error) if is_forbidden(&error) => {
                    self.note(&watched, true);
                    return;
                }
                Err(error) => {
                    if self.note(&watched, false) {
                        let error = errors::short(&errors::line(&error));
                        tracing::warn!(
                            cluster = self.cluster_name,
                            error,
                            "can't watch its service accounts"
                        );
                    }
                    continue;
                }
            };
            self.note(&watched, true);
            watched.hurry(changed);
        }
    }

    /// Notes whether the source answers; whether that is news.
    fn note(&self, watched: &Watched, is_watched: bool) -> bool {
        let is_news = self.source.upgrade().is_some_and(|source| source.set_watched(is_watched));
        if is_news && is_watched {
            tracing::info!(cluster = self.cluster_name, "its service accounts are watched again");
            watched.hurry(self.source.upgrade().map(|source| source.woken()).unwrap_or_default());
        }
        is_news
    }
}

fn uid(account: &PartialObjectMeta<ServiceAccount>) -> Arc<str> {
    account.metadata.uid.as_deref().filter(|uid| is_uid(uid)).unwrap_or_default().into()
}

/// Whether a watch can't begin, or go on, for lack of a right.
pub fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error as E;
    let (E::InitialListFailed(kube::Error::Api(status))
    | E::WatchStartFailed(kube::Error::Api(status))
    | E::WatchError(status)) = error
    else {
        return false;
    };
    status.code == 403
}
