//! The Secret [`KUBECONFIG`](super::KUBECONFIG): a kubeconfig with exactly one context for each cluster, with the
//! cluster's name. The namespace of the workflows may have another one, with users of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use k8s_openapi::api::core::v1::Secret;
use kube::Config;

use super::Reader;
use super::error::{ArgoError, Place, Problem, if_encoded, require_credential, text};
use crate::kubeconfig::{self, Entry, EntryKind, INSECURE, Kubeconfig};

/// The key that has the kubeconfig.
const VALUE: &str = "value";

const FIX: &str = "add a kubeconfig, with a context for each cluster, as kubemcsa export --format \
                    argo-kubeconfig prints it";

/// What a context refers to.
const REFERENCES: [EntryKind; 2] = [EntryKind::Cluster, EntryKind::User];

/// The kubeconfig of a Secret [`KUBECONFIG`](super::KUBECONFIG), parsed once for all of its clusters. *Absent:*
/// `Debug`, which would print credentials.
pub struct Contexts {
    place: Place,
    kubeconfig: Kubeconfig,
    /// The names of the contexts of each cluster.
    by_cluster: HashMap<String, Vec<String>>,
}

impl Reader {
    /// All clusters of the Secret [`KUBECONFIG`](super::KUBECONFIG), by name.
    ///
    /// # Errors
    /// If there is no cluster, if the configuration of one cannot be used, or if one does not have exactly one context
    /// with its name.
    pub fn contexts(self, secret: &Secret) -> Result<BTreeMap<String, Config>, ArgoError> {
        let parsed = self.kubeconfig(secret)?;
        let entries = |kind| parsed.kubeconfig.entries(kind).iter().map(Entry::name);
        let names: BTreeSet<_> = entries(EntryKind::Context).chain(entries(EntryKind::Cluster)).collect();
        if names.is_empty() {
            return Err(parsed.error(Problem::NoContexts));
        }
        names.into_iter().map(|name| Ok((name.to_owned(), self.one(&parsed, name)?))).collect()
    }

    /// One cluster of the Secret [`KUBECONFIG`](super::KUBECONFIG). Errors of other clusters are ignored.
    ///
    /// # Errors
    /// If the cluster does not exist or its configuration cannot be used, or if there is not exactly one context with
    /// its name.
    pub fn context(self, secret: &Secret, cluster: &str) -> Result<Config, ArgoError> {
        self.one(&self.kubeconfig(secret)?, cluster)
    }

    /// The only managed namespace of a cluster of the Secret [`KUBECONFIG`](super::KUBECONFIG): its context's
    /// namespace. Empty, as in [`ClusterLine`](super::ClusterLine), if the context has none: all namespaces are
    /// managed. [`Config::default_namespace`] would be `default` in that case.
    ///
    /// # Errors
    /// If there is not exactly one context with that name, or its namespace is not a string.
    pub fn managed_namespace(self, secret: &Secret, cluster: &str) -> Result<String, ArgoError> {
        self.kubeconfig(secret)?.namespace(cluster, &REFERENCES)
    }

    /// Parses the Secret [`KUBECONFIG`](super::KUBECONFIG), for [`Reader::workflow_context`].
    ///
    /// # Errors
    /// If the Secret has no kubeconfig.
    pub fn kubeconfig(self, secret: &Secret) -> Result<Contexts, ArgoError> {
        let place = Place::of(secret, Some(VALUE));
        let parsed = text(secret, VALUE, FIX).and_then(|text| kubeconfig_of(text, FIX));
        let kubeconfig = parsed.map_err(|problem| place.clone().error(problem))?;
        let mut by_cluster: HashMap<_, Vec<_>> = HashMap::new();
        for context in kubeconfig.contexts() {
            if let Some(cluster) = context.text("cluster") {
                by_cluster.entry(cluster).or_default().push(context.name().to_owned());
            }
        }
        Ok(Contexts { place, kubeconfig, by_cluster })
    }

    /// One cluster for workflows with users of their own, and its only managed namespace, which is empty as in
    /// [`Reader::managed_namespace`] if all are managed.
    ///
    /// `clusters` is the Secret [`KUBECONFIG`](super::KUBECONFIG) of the controller's namespace. Its users are ignored.
    /// `users` is that of the workflows' namespace. Its clusters are ignored, so that only the controller's Secret
    /// decides where credentials are sent. Both have a context for the cluster, and either may have the namespace.
    /// [`Config::default_namespace`] is that of `users`.
    ///
    /// # Errors
    /// If the cluster's configuration cannot be used, if one of the Secrets does not have exactly one context with its
    /// name, or if both contexts have a namespace, and not the same.
    pub fn workflow_context(
        self,
        clusters: &Contexts,
        users: &Contexts,
        cluster: &str,
    ) -> Result<(Config, String), ArgoError> {
        let managed = clusters.namespace(cluster, &[EntryKind::Cluster])?;
        let requested = users.namespace(cluster, &[EntryKind::User])?;
        let place = |contexts: &Contexts| contexts.place.clone().in_context(cluster);
        if !managed.is_empty() && !requested.is_empty() && managed != requested {
            let other = place(clusters).to_string();
            return Err(place(users).error(Problem::OtherNamespace { other }));
        }
        let context = users.kubeconfig.context_in(&clusters.kubeconfig, Some(cluster), self.policy());
        let config = context.map_err(Problem::from).and_then(usable).map_err(|problem| {
            let contexts = if problem.is_about_cluster() { clusters } else { users };
            place(contexts).error(problem)
        })?;
        Ok((config, if managed.is_empty() { requested } else { managed }))
    }

    fn one(self, contexts: &Contexts, name: &str) -> Result<Config, ArgoError> {
        contexts.only(name, &REFERENCES).map_err(|problem| contexts.error(problem))?;
        self.context_config(&contexts.kubeconfig, Some(name))
            .map_err(|problem| contexts.place.clone().in_context(name).error(problem))
    }

    /// The configuration of a context. `None`: the current context.
    pub(super) fn context_config(
        self,
        kubeconfig: &Kubeconfig,
        context: Option<&str>,
    ) -> Result<Config, Problem> {
        usable(kubeconfig.context(context, self.policy())?)
    }
}

impl Contexts {
    /// The names of the contexts, in their order and each once, even of those that cannot be used.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut known = HashSet::new();
        self.kubeconfig.contexts().map(Entry::name).filter(move |name| known.insert(*name))
    }

    /// The namespace of the context of a cluster. Empty: any.
    fn namespace(&self, cluster: &str, references: &[EntryKind]) -> Result<String, ArgoError> {
        self.only(cluster, references).and_then(namespace).map_err(|problem| self.error(problem))
    }

    /// The context of a cluster, if it is unambiguous, and refers to one entry of each of these kinds.
    fn only(&self, name: &str, references: &[EntryKind]) -> Result<&Entry, Problem> {
        let context = self
            .kubeconfig
            .find(EntryKind::Context, name)
            .ok_or_else(|| Problem::NoContext(name.to_owned()))?;
        self.check_single(EntryKind::Context, name)?;
        let dangling = || Problem::Dangling(name.to_owned());
        let cluster = context.text("cluster").ok_or_else(dangling)?;
        let contexts = self.by_cluster.get(&cluster).map(Vec::as_slice).unwrap_or_default();
        if contexts.len() > 1 {
            let contexts = kubeconfig::list(contexts);
            return Err(Problem::SeveralForCluster { cluster, contexts });
        }
        if cluster != name {
            return Err(Problem::Misnamed { context: name.to_owned(), cluster });
        }
        for kind in references {
            // The field of a reference has the name of its kind.
            let reference = context.text(&kind.to_string()).unwrap_or_default();
            self.kubeconfig.find(*kind, &reference).ok_or_else(dangling)?;
            self.check_single(*kind, &reference)?;
        }
        Ok(context)
    }

    fn check_single(&self, kind: EntryKind, name: &str) -> Result<(), Problem> {
        let count = self.kubeconfig.count(kind, name);
        if count > 1 { Err(Problem::Several { count, kind, name: name.to_owned() }) } else { Ok(()) }
    }

    fn error(&self, problem: Problem) -> ArgoError {
        self.place.clone().error(problem)
    }
}

fn usable(context: kubeconfig::Context) -> Result<Config, Problem> {
    let kubeconfig::Context { endpoint, config, .. } = context;
    if config.accept_invalid_certs && endpoint.ca_bundle.is_some() {
        return Err(Problem::InsecureAuthority(INSECURE));
    }
    require_credential(&config.auth_info)?;
    Ok(config)
}

pub(super) fn kubeconfig_of(text: &str, fix: &'static str) -> Result<Kubeconfig, Problem> {
    Kubeconfig::from_data(text, None).map_err(|_| if_encoded(text, Problem::NotAKubeconfig(fix)))
}

/// The namespace of a context. Empty if it has none: any. So one that is not a string must be an error.
fn namespace(context: &Entry) -> Result<String, Problem> {
    let namespace = context.fields()?.text("namespace").map_err(|problem| context.problem(problem))?;
    Ok(namespace.unwrap_or_default())
}

#[cfg(test)]
mod tests;
