//! Which namespaces the Secrets let run pods in which clusters. A pure function.
//!
//! If Secrets of several designs give the same launch, that of the latest design wins: profiles before kubeconfigs
//! before rest configs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::Config;
use mcsa_client::argo::{ArgoError, KUBECONFIG, Reader};
use mcsa_credentials::names;

/// The longest name of a cluster: it is also a label of the virtual node.
const MAX_NAME: usize = 63;

/// Pods of a namespace may run in a namespace of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Launch {
    pub(super) namespace: String,
    pub(super) cluster: String,
    pub(super) remote_namespace: String,
}

/// The Secrets, as observed.
#[derive(Default)]
pub(super) struct Secrets<'a> {
    /// The rest configs, in the workflow controller's namespace.
    pub(super) clusters: Option<&'a Secret>,
    /// By namespace.
    pub(super) kubeconfigs: BTreeMap<&'a str, &'a Secret>,
    /// In the workflow controller's namespace.
    pub(super) profiles: Vec<&'a Secret>,
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) launches: BTreeMap<Launch, Config>,
    /// What is wrong with the Secrets. They quote no value.
    pub(super) problems: BTreeSet<String>,
}

/// `controller` is the workflow controller's namespace, and one of the `namespaces` whose pods may use the Secrets.
pub(super) fn plan(controller: &str, namespaces: &BTreeSet<String>, secrets: &Secrets<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.add_rest_configs(namespaces, secrets.clusters);
    plan.add_contexts(controller, namespaces, &secrets.kubeconfigs);
    plan.add_profiles(namespaces, &secrets.profiles);
    plan
}

impl Plan {
    /// The first design has no remote namespaces: pods run in the namespace of the same name.
    fn add_rest_configs(&mut self, namespaces: &BTreeSet<String>, secret: Option<&Secret>) {
        let Some(secret) = secret else { return };
        for cluster in secret.data.iter().flat_map(BTreeMap::keys) {
            if let Some(config) = self.usable(Reader::default().rest_config(secret, cluster)) {
                for namespace in namespaces {
                    self.add(namespace, cluster, namespace, &config);
                }
            }
        }
    }

    /// The second design: the controller's Secret has the clusters. Each other namespace has its own users.
    fn add_contexts(
        &mut self,
        controller: &str,
        namespaces: &BTreeSet<String>,
        kubeconfigs: &BTreeMap<&str, &Secret>,
    ) {
        let reader = Reader::default();
        // Without it, the design is not in use, and a Secret of that name may be for something else.
        let Some(clusters) = kubeconfigs.get(controller) else { return };
        let Some(known) = self.usable(reader.context_names(clusters)) else { return };
        for namespace in namespaces {
            let Some(users) = kubeconfigs.get(namespace.as_str()) else { continue };
            for cluster in self.usable(reader.context_names(users)).unwrap_or_default() {
                if !known.contains(&cluster) {
                    self.problems.insert(format!(
                        "Secret {namespace}/{KUBECONFIG}: Secret {controller}/{KUBECONFIG} has no context \
                         {cluster}; add it there, or remove it here"
                    ));
                } else if let Some((config, managed)) =
                    self.usable(reader.workflow_context(clusters, users, &cluster))
                {
                    let remote = if managed.is_empty() { namespace } else { &managed };
                    self.add(namespace, &cluster, remote, &config);
                }
            }
        }
    }

    /// The third design: the most specific profile wins.
    fn add_profiles(&mut self, namespaces: &BTreeSet<String>, secrets: &[&Secret]) {
        let (profiles, errors) = Reader::default().profiles(secrets.iter().copied());
        self.problems.extend(errors.iter().map(ToString::to_string));
        for namespace in namespaces {
            for profile in profiles.iter() {
                let remote = profile.namespace.as_ref().unwrap_or(namespace);
                if profile.is_for(namespace, &profile.cluster, remote)
                    && let Some(Some(best)) = self.usable(profiles.find(namespace, &profile.cluster, remote))
                {
                    self.add(namespace, &best.cluster, remote, &best.config);
                }
            }
        }
    }

    fn usable<T>(&mut self, read: Result<T, ArgoError>) -> Option<T> {
        read.map_err(|error| self.problems.insert(error.to_string())).ok()
    }

    fn add(&mut self, namespace: &str, cluster: &str, remote_namespace: &str, config: &Config) {
        if cluster.len() > MAX_NAME || !names::is_dns_subdomain(cluster) {
            self.problems.insert(format!(
                "cluster {cluster:?} can't be a virtual node: rename it in Argo's Secrets, to at most {MAX_NAME} \
                 lower-case letters, digits, - and ."
            ));
            return;
        }
        // It becomes a part of URLs.
        if let Err(problem) = names::namespace(remote_namespace) {
            self.problems.insert(format!(
                "Argo's Secrets name a namespace of cluster {cluster} for workflows in {namespace} that is {problem}"
            ));
            return;
        }
        let launch = Launch {
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            remote_namespace: remote_namespace.to_owned(),
        };
        let mut config = config.clone();
        config.default_namespace = remote_namespace.to_owned();
        self.launches.insert(launch, config);
    }
}

#[cfg(test)]
mod tests;
