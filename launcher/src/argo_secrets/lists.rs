//! What the watches have observed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use mcsa_client::argo::{CLUSTER_LABEL, CLUSTERS, KUBECONFIG};
use mcsa_runtime::errors;

use super::plan::Secrets;

/// The timeout of a watch, in seconds. It limits how long a dead connection goes unnoticed.
const WATCH_TIMEOUT: u32 = 60;

/// What all watches have observed.
pub(super) struct Lists(BTreeMap<Selection, List>);

/// The Secrets of one watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Selection {
    pub(super) namespace: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
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
    /// Whether the first list is complete, or forbidden.
    is_listed: bool,
    /// Whether there was an error since the last progress.
    is_interrupted: bool,
}

impl Lists {
    pub(super) fn new(controller: &str, namespaces: &BTreeSet<String>) -> Self {
        let selection = |namespace: &str, kind| Selection { namespace: namespace.to_owned(), kind };
        let of_controller = [Kind::Clusters, Kind::Profiles].map(|kind| selection(controller, kind));
        let kubeconfigs = namespaces.iter().map(|namespace| selection(namespace, Kind::Kubeconfig));
        let all = of_controller.into_iter().chain(kubeconfigs);
        Self(all.map(|selection| (selection, List::default())).collect())
    }

    pub(super) fn selections(&self) -> Vec<Selection> {
        self.0.keys().cloned().collect()
    }

    /// Whether each first list is complete, or forbidden: without a right, there is nothing to wait for. After any
    /// other error, the Secrets are unknown, and those of an earlier design must not replace them.
    pub(super) fn are_listed(&self) -> bool {
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

    /// Returns whether something changed. An error keeps what is known.
    pub(super) fn handle(&mut self, selection: &Selection, event: watcher::Result<Event<Secret>>) -> bool {
        self.0.get_mut(selection).is_some_and(|list| list.handle(selection, event))
    }
}

impl Selection {
    pub(super) fn config(&self) -> watcher::Config {
        let config = watcher::Config::default().timeout(WATCH_TIMEOUT);
        match self.kind {
            // A Role with resourceNames allows these lists.
            Kind::Clusters => config.fields(&format!("metadata.name={CLUSTERS}")),
            Kind::Kubeconfig => config.fields(&format!("metadata.name={KUBECONFIG}")),
            Kind::Profiles => config.labels(CLUSTER_LABEL),
        }
    }
}

impl List {
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
            Err(error) => return self.interrupt(selection, &error),
        }
        self.is_interrupted = false;
        true
    }

    /// Logs the first of several errors, and the first that makes the list an empty one.
    fn interrupt(&mut self, selection: &Selection, error: &watcher::Error) -> bool {
        let is_first = !std::mem::replace(&mut self.is_interrupted, true);
        let becomes_listed = !self.is_listed && is_forbidden(error);
        self.is_listed |= becomes_listed;
        let Selection { namespace, kind: secrets } = selection;
        if becomes_listed {
            tracing::warn!(
                namespace = &**namespace,
                ?secrets,
                "may not list Secrets of Argo Workflows, and works without them: give the launcher the rights of its \
                 Role in examples/argo/secrets/target.yaml"
            );
        } else if is_first {
            let error = errors::line(error);
            tracing::warn!(
                namespace = &**namespace,
                ?secrets,
                error,
                "can't watch Secrets of Argo Workflows; retrying, and keeping their clusters"
            );
        }
        becomes_listed
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn secret(name: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        secret
    }

    fn handle(lists: &mut Lists, kind: Kind, events: Vec<watcher::Result<Event<Secret>>>) -> Vec<bool> {
        let selection = Selection { namespace: "argo".into(), kind };
        events.into_iter().map(|event| lists.handle(&selection, event)).collect()
    }

    fn error(code: u16) -> watcher::Result<Event<Secret>> {
        let status = Status::failure("secrets can't be listed", "").with_code(code);
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status.boxed())))
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
            vec![Ok(Event::Apply(secret("c"))), Ok(Event::Delete(secret("a"))), Ok(Event::Init), error(403)];
        handle(&mut lists, Kind::Profiles, later);
        let names = |lists: &Lists| -> Vec<String> {
            lists.secrets().profiles.iter().map(|secret| secret.name_any()).collect()
        };
        assert_eq!(names(&lists), ["b", "c"]);
        handle(&mut lists, Kind::Profiles, list(&["c"]));
        assert_eq!(names(&lists), ["c"]);
    }

    #[test]
    fn only_a_complete_or_forbidden_list_is_a_change() {
        let events = vec![
            error(500),
            Ok(Event::Init),
            error(403),
            Ok(Event::Init),
            error(403),
            Ok(Event::Init),
            Ok(Event::InitDone),
            error(403),
        ];
        let changes = handle(&mut lists(), Kind::Clusters, events);
        assert_eq!(changes, [false, false, true, false, false, false, true, false]);
    }

    #[test]
    fn a_list_that_fails_is_awaited_and_one_that_is_forbidden_is_empty() {
        let mut lists = lists();
        assert_eq!(lists.0.len(), 4);
        for list in lists.0.values_mut().skip(1) {
            list.is_listed = true;
        }
        assert!(!lists.are_listed());
        handle(&mut lists, Kind::Clusters, vec![error(500)]);
        assert!(!lists.are_listed());
        handle(&mut lists, Kind::Clusters, vec![error(403)]);
        assert!(lists.are_listed() && lists.secrets().clusters.is_none());
    }
}
