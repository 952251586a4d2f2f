//! The service accounts of a source, watched where the link may: one that was deleted and made anew
//! has invalidated the tokens of the old one, and their imports must not wait for their next refresh.
//!
//! Nothing of a service account is kept but its UID, and that only of those that are imported.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use mcsa_runtime::errors;
use tokio::task::JoinSet;

use crate::cache::Account;
use crate::key::ObjectKey;
use crate::source::Source;
use crate::watch::Watched;

/// How often it is looked whether other namespaces are imported from, or other rights were granted.
const RECHECK: Duration = Duration::from_secs(300);

/// Follows the service accounts of a source: all, or, where the link may not see all, those of the
/// namespaces that are imported from. Where it may not see these either, their imports find out at
/// the next refresh.
pub async fn follow(source: std::sync::Weak<Source>, watched: Watched) {
    watched.synced().await;
    loop {
        let Some(told) = Told::of(&source, &watched) else { return };
        let client = told.client.clone();
        told.follow(Api::all(client), None).await;
        tracing::debug!(cluster = told.cluster_name, "the link may not watch all service accounts");
        let namespaces: HashSet<String> = {
            let accounts = watched.cache.accounts_of(&told.cluster_name);
            accounts.iter().map(|account| account.namespace().to_owned()).collect()
        };
        let mut watches = JoinSet::new();
        for namespace in namespaces {
            let Some(told) = Told::of(&source, &watched) else { return };
            let accounts = Api::namespaced(told.client.clone(), &namespace);
            watches.spawn(async move { told.follow(accounts, Some(&namespace)).await });
        }
        tokio::time::sleep(RECHECK).await;
    }
}

/// Where what a source tells goes to.
struct Told {
    source: std::sync::Weak<Source>,
    client: Client,
    cluster_name: String,
    watched: Watched,
}

impl Told {
    /// None when there is no such source any more.
    fn of(source: &std::sync::Weak<Source>, watched: &Watched) -> Option<Self> {
        let strong = source.upgrade()?;
        Some(Self {
            source: source.clone(),
            client: strong.client(),
            cluster_name: strong.name().to_owned(),
            watched: watched.clone(),
        })
    }

    /// Follows a watch until the source forbids it.
    async fn follow(&self, api: Api<PartialObjectMeta<ServiceAccount>>, namespace: Option<&str>) {
        let events = watcher(api, watcher::Config::default());
        let mut events = std::pin::pin!(events.default_backoff());
        let mut told = HashMap::new();
        while let Some(event) = events.next().await {
            let changed = match event {
                Ok(Event::Apply(account)) => self.see(&ObjectKey::of(&account), uid(&account)),
                Ok(Event::Delete(account)) => self.see(&ObjectKey::of(&account), Account::Gone),
                Ok(Event::Init) => {
                    // Those that are not listed now are gone.
                    let accounts = self.watched.cache.accounts_of(&self.cluster_name).into_iter();
                    let is_meant =
                        |account: &ObjectKey| namespace.is_none_or(|name| name == account.namespace());
                    told = accounts.filter(is_meant).map(|account| (account, Account::Gone)).collect();
                    Vec::new()
                }
                Ok(Event::InitApply(account)) => {
                    if let Some(told) = told.get_mut(&ObjectKey::of(&account)) {
                        *told = uid(&account);
                    }
                    Vec::new()
                }
                Ok(Event::InitDone) => {
                    let told = std::mem::take(&mut told);
                    let mut changed = self.watched.cache.see_accounts(&self.cluster_name, &told);
                    if self.note(true) {
                        tracing::info!(cluster = self.cluster_name, "its service accounts are watched again");
                        // What waits for its next try need not wait any longer.
                        changed.extend(self.watched.cache.imports_of(&self.cluster_name));
                    }
                    changed
                }
                Err(error) if is_forbidden(&error) => {
                    self.note(true);
                    return;
                }
                Err(error) => {
                    if self.note(false) {
                        let error = errors::line(&error);
                        tracing::warn!(
                            cluster = self.cluster_name,
                            error,
                            "can't watch its service accounts"
                        );
                    }
                    Vec::new()
                }
            };
            self.watched.hurry(changed);
        }
    }

    fn see(&self, key: &ObjectKey, told: Account) -> Vec<ObjectKey> {
        self.watched.cache.see_account(&self.cluster_name, key, &told)
    }

    fn note(&self, is_watched: bool) -> bool {
        self.source.upgrade().is_some_and(|source| source.set_watched(is_watched))
    }
}

fn uid(account: &PartialObjectMeta<ServiceAccount>) -> Account {
    Account::Is(Arc::from(account.metadata.uid.as_deref().unwrap_or_default()))
}

fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error as E;
    let (E::InitialListFailed(kube::Error::Api(status))
    | E::WatchStartFailed(kube::Error::Api(status))
    | E::WatchError(status)) = error
    else {
        return false;
    };
    status.code == 403
}
