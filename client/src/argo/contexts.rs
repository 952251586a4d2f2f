//! The Secret [`KUBECONFIG`](super::KUBECONFIG): a kubeconfig with exactly one context for each cluster, with the
//! cluster's name.

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
    /// If there is not exactly one context with that name.
    pub fn managed_namespace(self, secret: &Secret, cluster: &str) -> Result<String, ArgoError> {
        let kubeconfig = parsed(secret)?;
        let context = only(&kubeconfig, cluster).map_err(|problem| place(secret).error(problem))?;
        Ok(context.text("namespace").unwrap_or_default())
    }

    fn one(self, secret: &Secret, kubeconfig: &Kubeconfig, name: &str) -> Result<Config, ArgoError> {
        only(kubeconfig, name).map_err(|problem| place(secret).error(problem))?;
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

/// The context of a cluster, if it is unambiguous.
fn only<'a>(kubeconfig: &'a Kubeconfig, name: &str) -> Result<&'a Entry, Problem> {
    let named =
        |kind, name: &str| kubeconfig.entries(kind).iter().filter(|entry| entry.name() == name).count();
    let context =
        kubeconfig.find(EntryKind::Context, name).ok_or_else(|| Problem::NoContext(name.to_owned()))?;
    check_single("contexts", name, named(EntryKind::Context, name))?;
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
    let user = context.text("user").unwrap_or_default();
    let (clusters, users) = (named(EntryKind::Cluster, name), named(EntryKind::User, &user));
    if clusters == 0 || users == 0 {
        return Err(dangling());
    }
    check_single("clusters", name, clusters)?;
    check_single("users", &user, users)?;
    Ok(context)
}

fn check_single(what: &'static str, name: &str, count: usize) -> Result<(), Problem> {
    let name = name.to_owned();
    if count > 1 { Err(Problem::Several { count, what, name }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
