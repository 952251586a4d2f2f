//! The Secret [`KUBECONFIG`](super::KUBECONFIG): a kubeconfig with exactly one context for each cluster, with the
//! cluster's name. The namespace of the workflows may have another one, with users of their own.

use std::collections::{BTreeMap, BTreeSet};

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

impl Reader {
    /// All clusters of the Secret [`KUBECONFIG`](super::KUBECONFIG), by name.
    ///
    /// # Errors
    /// If there is no cluster, if the configuration of one cannot be used, or if one does not have exactly one context
    /// with its name.
    pub fn contexts(self, secret: &Secret) -> Result<BTreeMap<String, Config>, ArgoError> {
        let kubeconfig = parsed(secret)?;
        let entries = |kind| kubeconfig.entries(kind).iter().map(Entry::name);
        let names: BTreeSet<_> = entries(EntryKind::Context).chain(entries(EntryKind::Cluster)).collect();
        if names.is_empty() {
            return Err(place(secret).error(Problem::NoContexts));
        }
        names.into_iter().map(|name| Ok((name.to_owned(), self.one(secret, &kubeconfig, name)?))).collect()
    }

    /// The names of the contexts of the Secret [`KUBECONFIG`](super::KUBECONFIG), in their order, even of those that
    /// cannot be used.
    ///
    /// # Errors
    /// If the Secret has no kubeconfig.
    pub fn context_names(self, secret: &Secret) -> Result<Vec<String>, ArgoError> {
        Ok(parsed(secret)?.contexts().map(|context| context.name().to_owned()).collect())
    }

    /// One cluster of the Secret [`KUBECONFIG`](super::KUBECONFIG). Errors of other clusters are ignored.
    ///
    /// # Errors
    /// If the cluster does not exist or its configuration cannot be used, or if there is not exactly one context with
    /// its name.
    pub fn context(self, secret: &Secret, cluster: &str) -> Result<Config, ArgoError> {
        self.one(secret, &parsed(secret)?, cluster)
    }

    /// The only managed namespace of a cluster of the Secret [`KUBECONFIG`](super::KUBECONFIG): its context's
    /// namespace. Empty, as in [`ClusterLine`](super::ClusterLine), if the context has none: all namespaces are
    /// managed. [`Config::default_namespace`] would be `default` in that case.
    ///
    /// # Errors
    /// If there is not exactly one context with that name, or its namespace is not a string.
    pub fn managed_namespace(self, secret: &Secret, cluster: &str) -> Result<String, ArgoError> {
        let kubeconfig = parsed(secret)?;
        let context = only(&kubeconfig, cluster, &REFERENCES);
        context.and_then(namespace).map_err(|problem| place(secret).error(problem))
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
        clusters: &Secret,
        users: &Secret,
        cluster: &str,
    ) -> Result<(Config, String), ArgoError> {
        let (of_clusters, of_users) = (parsed(clusters)?, parsed(users)?);
        let namespace_in = |secret: &Secret, kubeconfig: &Kubeconfig, reference: EntryKind| {
            let context = only(kubeconfig, cluster, &[reference]);
            context.and_then(namespace).map_err(|problem| place(secret).error(problem))
        };
        let managed = namespace_in(clusters, &of_clusters, EntryKind::Cluster)?;
        let requested = namespace_in(users, &of_users, EntryKind::User)?;
        if !managed.is_empty() && !requested.is_empty() && managed != requested {
            let other = place(clusters).in_context(cluster).to_string();
            return Err(place(users).in_context(cluster).error(Problem::OtherNamespace { other }));
        }
        let kubeconfig = of_users.with_clusters_of(of_clusters);
        let config = self.context_config(&kubeconfig, Some(cluster)).map_err(|problem| {
            let secret = if problem.is_about_cluster() { clusters } else { users };
            place(secret).in_context(cluster).error(problem)
        })?;
        Ok((config, if managed.is_empty() { requested } else { managed }))
    }

    fn one(self, secret: &Secret, kubeconfig: &Kubeconfig, name: &str) -> Result<Config, ArgoError> {
        only(kubeconfig, name, &REFERENCES).map_err(|problem| place(secret).error(problem))?;
        self.context_config(kubeconfig, Some(name))
            .map_err(|problem| place(secret).in_context(name).error(problem))
    }

    /// The configuration of a context. `None`: the current context.
    pub(super) fn context_config(
        self,
        kubeconfig: &Kubeconfig,
        context: Option<&str>,
    ) -> Result<Config, Problem> {
        let kubeconfig::Context { endpoint, config, .. } = kubeconfig.context(context, self.policy())?;
        if config.accept_invalid_certs && endpoint.ca_bundle.is_some() {
            return Err(Problem::InsecureAuthority(INSECURE));
        }
        require_credential(&config.auth_info)?;
        Ok(config)
    }
}

fn place(secret: &Secret) -> Place {
    Place::of(secret, Some(VALUE))
}

fn parsed(secret: &Secret) -> Result<Kubeconfig, ArgoError> {
    text(secret, VALUE, FIX)
        .and_then(|text| kubeconfig_of(text, FIX))
        .map_err(|problem| place(secret).error(problem))
}

pub(super) fn kubeconfig_of(text: &str, fix: &'static str) -> Result<Kubeconfig, Problem> {
    Kubeconfig::from_data(text, None).map_err(|_| if_encoded(text, Problem::NotAKubeconfig(fix)))
}

/// The context of a cluster, if it is unambiguous, and refers to one entry of each of these kinds.
fn only<'a>(kubeconfig: &'a Kubeconfig, name: &str, references: &[EntryKind]) -> Result<&'a Entry, Problem> {
    let context =
        kubeconfig.find(EntryKind::Context, name).ok_or_else(|| Problem::NoContext(name.to_owned()))?;
    check_single(kubeconfig, EntryKind::Context, name)?;
    let dangling = || Problem::Dangling(name.to_owned());
    let cluster = context.text("cluster").ok_or_else(dangling)?;
    let contexts = kubeconfig.contexts().filter(|entry| entry.text("cluster").as_ref() == Some(&cluster));
    let contexts: Vec<_> = contexts.map(|entry| entry.name().to_owned()).collect();
    if contexts.len() > 1 {
        return Err(Problem::SeveralForCluster { cluster, contexts });
    }
    if cluster != name {
        return Err(Problem::Misnamed { context: name.to_owned(), cluster });
    }
    for kind in references {
        // The field of a reference has the name of its kind.
        let reference = context.text(&kind.to_string()).unwrap_or_default();
        kubeconfig.find(*kind, &reference).ok_or_else(dangling)?;
        check_single(kubeconfig, *kind, &reference)?;
    }
    Ok(context)
}

fn check_single(kubeconfig: &Kubeconfig, kind: EntryKind, name: &str) -> Result<(), Problem> {
    let count = kubeconfig.entries(kind).iter().filter(|entry| entry.name() == name).count();
    if count > 1 { Err(Problem::Several { count, kind, name: name.to_owned() }) } else { Ok(()) }
}

/// The namespace of a context. Empty if it has none: any. So one that is not a string must be an error.
fn namespace(context: &Entry) -> Result<String, Problem> {
    let namespace = context.fields()?.text("namespace").map_err(|problem| context.problem(problem))?;
    Ok(namespace.unwrap_or_default())
}

#[cfg(test)]
mod tests;
