//! Watches the Secrets. In other namespaces than the workflow controller's, this needs rights to one Secret only.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::pin;

use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::argo::{CLUSTER_LABEL, CLUSTERS, KUBECONFIG};
use mcsa_runtime::errors;
use tokio::sync::watch::Sender;
use tokio::time::sleep;

use super::plan::Secrets;

/// What all watches have observed.
pub(super) struct Lists(BTreeMap<Selection, List>);

/// The Secrets of one watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Selection {
    namespace: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Clusters,
    Kubeconfig,
    Profiles,
}

/// What one watch has observed.
#[derive(Default)]
struct List {
    /// By name.
    secrets: BTreeMap<String, Secret>,
    /// The Secrets received so far of a list that is not complete.
    listed: BTreeMap<String, Secret>,
    /// Whether the first list is complete.
    is_listed: bool,
    /// Whether there was an error since the last progress.
    is_interrupted: bool,
}

/// Keeps the lists up to date.
pub(super) async fn run(client: &Client, lists: &Sender<Lists>) -> Infallible {
    let selections: Vec<_> = lists.borrow().0.keys().cloned().collect();
    join_all(selections.iter().map(|selection| watch(client, selection, lists))).await;
    // kube's watches do not end.
    std::future::pending().await
}

async fn watch(client: &Client, selection: &Selection, lists: &Sender<Lists>) {
    let api = Api::<Secret>::namespaced(client.clone(), &selection.namespace);
    let mut events = pin!(watcher(api, selection.config()));
    let mut backoff = DefaultBackoff::default();
    while let Some(event) = events.next().await {
        let pause = match &event {
            // Each retry of a list begins with it, so it is no progress.
            Ok(Event::Init) => None,
            Ok(_) => {
                backoff.reset();
                None
            }
            Err(_) => backoff.next(),
        };
        lists.send_if_modified(|lists| {
            lists.0.get_mut(selection).is_some_and(|list| list.handle(selection, event))
        });
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }
}

impl Lists {
    pub(super) fn new(controller: &str, namespaces: &BTreeSet<String>) -> Self {
        let selection = |namespace: &str, kind| Selection { namespace: namespace.to_owned(), kind };
        let of_controller = [Kind::Clusters, Kind::Profiles].map(|kind| selection(controller, kind));
        let kubeconfigs = namespaces.iter().map(|namespace| selection(namespace, Kind::Kubeconfig));
        let all = of_controller.into_iter().chain(kubeconfigs);
        Self(all.map(|selection| (selection, List::default())).collect())
    }

    /// Whether each first list is complete, or has failed: one that is forbidden must not stop the others.
    pub(super) fn are_tried(&self) -> bool {
        self.0.values().all(|list| list.is_listed || list.is_interrupted)
    }

    /// Whether each first list is complete.
    pub(super) fn are_complete(&self) -> bool {
        self.0.values().all(|list| list.is_listed)
    }

    pub(super) fn secrets(&self) -> Secrets<'_> {
        let mut secrets = Secrets::default();
        for (selection, list) in &self.0 {
            let mut found = list.secrets.values();
            match selection.kind {
                Kind::Clusters => secrets.clusters = found.next(),
                Kind::Kubeconfig => {
                    secrets.kubeconfigs.extend(found.map(|secret| (&*selection.namespace, secret)));
                }
                Kind::Profiles => secrets.profiles.extend(found),
            }
        }
        secrets
    }
}

impl Selection {
    fn config(&self) -> watcher::Config {
        // A Role with resourceNames allows these lists.
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        match self.kind {
            Kind::Clusters => named(CLUSTERS),
            Kind::Kubeconfig => named(KUBECONFIG),
            Kind::Profiles => watcher::Config::default().labels(CLUSTER_LABEL),
        }
    }
}

impl List {
    /// Returns whether something changed. An error keeps what is known.
    fn handle(&mut self, selection: &Selection, event: watcher::Result<Event<Secret>>) -> bool {
        match event {
            Ok(Event::Init) => {
                self.listed.clear();
                return false;
            }
            Ok(Event::InitApply(secret)) => {
                self.listed.insert(secret.name_any(), secret);
                return false;
            }
            Ok(Event::InitDone) => {
                self.secrets = std::mem::take(&mut self.listed);
                self.is_listed = true;
            }
            Ok(Event::Apply(secret)) => drop(self.secrets.insert(secret.name_any(), secret)),
            Ok(Event::Delete(secret)) => drop(self.secrets.remove(&secret.name_any())),
            Err(error) => {
                let is_new = !std::mem::replace(&mut self.is_interrupted, true);
                if is_new {
                    let (namespace, secrets) = (&*selection.namespace, selection.kind);
                    let error = errors::line(&error);
                    tracing::warn!(
                        namespace,
                        ?secrets,
                        error,
                        "can't watch Secrets of Argo Workflows; retrying, and keeping their clusters"
                    );
                }
                return is_new;
            }
        }
        self.is_interrupted = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        secret
    }

    fn handle(lists: &mut Lists, kind: Kind, events: Vec<watcher::Result<Event<Secret>>>) -> Vec<bool> {
        let selection = Selection { namespace: "argo".into(), kind };
        let list = lists.0.get_mut(&selection).unwrap();
        events.into_iter().map(|event| list.handle(&selection, event)).collect()
    }

    fn error() -> watcher::Result<Event<Secret>> {
        Err(watcher::Error::NoResourceVersion)
    }

    fn lists() -> Lists {
        Lists::new("argo", &["argo", "team-a"].map(str::to_owned).into())
    }

    #[test]
    fn a_complete_list_replaces_the_secrets() {
        let mut lists = lists();
        let list = |names: &[&str]| {
            let listed = names.iter().map(|name| Ok(Event::InitApply(secret(name))));
            [Ok(Event::Init)].into_iter().chain(listed).chain([Ok(Event::InitDone)]).collect::<Vec<_>>()
        };
        handle(&mut lists, Kind::Profiles, list(&["a", "b"]));
        let later =
            vec![Ok(Event::Apply(secret("c"))), Ok(Event::Delete(secret("a"))), Ok(Event::Init), error()];
        handle(&mut lists, Kind::Profiles, later);
        let names = |lists: &Lists| -> Vec<String> {
            lists.secrets().profiles.iter().map(|secret| secret.name_any()).collect()
        };
        assert_eq!(names(&lists), ["b", "c"]);
        handle(&mut lists, Kind::Profiles, list(&["c"]));
        assert_eq!(names(&lists), ["c"]);
    }

    #[test]
    fn an_interruption_is_one_change_until_there_is_progress() {
        let events = vec![error(), Ok(Event::Init), error(), Ok(Event::Init), Ok(Event::InitDone), error()];
        let changes = handle(&mut lists(), Kind::Clusters, events);
        assert_eq!(changes, [true, false, false, false, true, true]);
    }

    #[test]
    fn a_list_that_fails_is_tried_but_not_complete() {
        let mut lists = lists();
        assert_eq!(lists.0.len(), 4);
        for list in lists.0.values_mut().skip(1) {
            list.is_listed = true;
        }
        assert!(!lists.are_tried() && !lists.are_complete());
        handle(&mut lists, Kind::Clusters, vec![error()]);
        assert!(lists.are_tried() && !lists.are_complete());
        handle(&mut lists, Kind::Clusters, vec![Ok(Event::Init), Ok(Event::InitDone)]);
        assert!(lists.are_tried() && lists.are_complete());
    }
}
