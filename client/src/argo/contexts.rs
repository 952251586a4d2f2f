//! The Secret [`KUBECONFIG`](super::KUBECONFIG): a kubeconfig with exactly one context for each cluster, with the
//! cluster's name.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::Config;
use kube::config::{Context, Kubeconfig};

use super::Reader;
use super::error::{ArgoError, Place, Problem, if_encoded, require_credential, text};
use crate::kubeconfig::{self, Chosen, INSECURE};

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
        let contexts = kubeconfig.contexts.iter().map(|named| named.name.as_str());
        let names: BTreeSet<_> =
            contexts.chain(kubeconfig.clusters.iter().map(|named| named.name.as_str())).collect();
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
        Ok(context.namespace.clone().unwrap_or_default())
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
        let (endpoint, config) = Chosen::of(kubeconfig, context)?.read(self.verification())?;
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
    kubeconfig::parse(text).map_err(|_| if_encoded(text, Problem::NotAKubeconfig(fix)))
}

/// The context of a cluster, if it is unambiguous.
fn only<'a>(kubeconfig: &'a Kubeconfig, name: &str) -> Result<&'a Context, Problem> {
    let mut contexts = kubeconfig.contexts.iter().filter(|named| named.name == name);
    let context = contexts.next().ok_or_else(|| Problem::NoContext(name.to_owned()))?;
    check_single("contexts", name, 1 + contexts.count())?;
    let dangling = || Problem::Dangling(name.to_owned());
    let context = context.context.as_ref().ok_or_else(dangling)?;

    let of_cluster = |other: &&Context| other.cluster == context.cluster;
    let several = kubeconfig.contexts.iter();
    let several = several.filter(|named| named.context.as_ref().filter(of_cluster).is_some());
    let several: Vec<_> = several.map(|named| named.name.clone()).collect();
    if several.len() > 1 {
        let cluster = context.cluster.clone();
        return Err(Problem::SeveralForCluster { cluster, contexts: several });
    }
    if context.cluster != name {
        return Err(Problem::Misnamed { context: name.to_owned(), cluster: context.cluster.clone() });
    }
    let clusters = kubeconfig.clusters.iter().filter(|named| named.name == name).count();
    let user = context.user.as_deref().unwrap_or_default();
    let users = kubeconfig.auth_infos.iter().filter(|named| named.name == user).count();
    if clusters == 0 || users == 0 {
        return Err(dangling());
    }
    check_single("clusters", name, clusters)?;
    check_single("users", user, users)?;
    Ok(context)
}

fn check_single(what: &'static str, name: &str, count: usize) -> Result<(), Problem> {
    let name = name.to_owned();
    if count > 1 { Err(Problem::Several { count, what, name }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
