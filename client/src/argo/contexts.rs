//! The Secret [`KUBECONFIG`](super::KUBECONFIG): a kubeconfig with exactly one context for each cluster,
//! which is called what the cluster is.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::Config;
use kube::config::{Context, Kubeconfig};

use super::Reader;
use super::error::{ArgoError, Place, Problem, if_encoded, text, with_credential};
use crate::kubeconfig::{self, Chosen, INSECURE};
use crate::system::formats::kubeconfigs::VALUE;

const MEND: &str = "put a kubeconfig there, with a context for each cluster, as kubemcsa export --format \
                    argo-kubeconfig prints it";

impl Reader {
    /// All clusters of the Secret [`KUBECONFIG`](super::KUBECONFIG), by name.
    ///
    /// # Errors
    /// When there is none, one of them can't be used, or not each has one context of its name.
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

    /// One cluster of the Secret [`KUBECONFIG`](super::KUBECONFIG), whatever is there of the others.
    ///
    /// # Errors
    /// When it is not there, has not one context of its name, or can't be used.
    pub fn context(self, secret: &Secret, cluster: &str) -> Result<Config, ArgoError> {
        self.one(secret, &parsed(secret)?, cluster)
    }

    /// The only namespace that is managed of a cluster of the Secret [`KUBECONFIG`](super::KUBECONFIG):
    /// its context's. Empty, as in [`ClusterLine`](super::ClusterLine), if that names none, which means
    /// all of them; [`Config::default_namespace`] can't tell that from `default`.
    ///
    /// # Errors
    /// When there is not one context of that name.
    pub fn managed_namespace(self, secret: &Secret, cluster: &str) -> Result<String, ArgoError> {
        let kubeconfig = parsed(secret)?;
        let context = only(&kubeconfig, cluster).map_err(|problem| place(secret).error(problem))?;
        Ok(context.namespace.clone().unwrap_or_default())
    }

    fn one(self, secret: &Secret, kubeconfig: &Kubeconfig, name: &str) -> Result<Config, ArgoError> {
        only(kubeconfig, name).map_err(|problem| place(secret).error(problem))?;
        self.chosen(kubeconfig, Some(name)).map_err(|problem| place(secret).in_context(name).error(problem))
    }

    /// What a context says, the current one unless it is named.
    pub(super) fn chosen(self, kubeconfig: &Kubeconfig, context: Option<&str>) -> Result<Config, Problem> {
        let (endpoint, config) = Chosen::of(kubeconfig, context)?.read(self.verification())?;
        if config.accept_invalid_certs && endpoint.ca_bundle.is_some() {
            return Err(Problem::InsecureAuthority(INSECURE));
        }
        with_credential(&config.auth_info)?;
        Ok(config)
    }
}

fn place(secret: &Secret) -> Place {
    Place::of(secret, Some(VALUE))
}

fn parsed(secret: &Secret) -> Result<Kubeconfig, ArgoError> {
    text(secret, VALUE, MEND)
        .and_then(|text| kubeconfig_of(text, MEND))
        .map_err(|problem| place(secret).error(problem))
}

pub(super) fn kubeconfig_of(text: &str, mend: &'static str) -> Result<Kubeconfig, Problem> {
    kubeconfig::parse(text).map_err(|_| if_encoded(text, Problem::NotAKubeconfig(mend)))
}

/// The one context of a cluster, if there is no doubt about it.
fn only<'a>(kubeconfig: &'a Kubeconfig, name: &str) -> Result<&'a Context, Problem> {
    let mut contexts = kubeconfig.contexts.iter().filter(|named| named.name == name);
    let context = contexts.next().ok_or_else(|| Problem::NoContext(name.to_owned()))?;
    alone("contexts", name, 1 + contexts.count())?;
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
    alone("clusters", name, clusters)?;
    alone("users", user, users)?;
    Ok(context)
}

fn alone(what: &'static str, name: &str, count: usize) -> Result<(), Problem> {
    let name = name.to_owned();
    if count > 1 { Err(Problem::Several { count, what, name }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
