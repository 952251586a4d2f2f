//! Which namespaces the Secrets let run pods in which clusters. A pure function.
//!
//! If Secrets of several designs give the same launch, that of the latest design wins: profiles before kubeconfigs
//! before rest configs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::{Config, ResourceExt};
use mcsa_client::argo::{
    ArgoError, CLUSTER_LABEL, Contexts, KUBECONFIG, Profiles, Reader, WORKFLOW_NAMESPACE,
};
use mcsa_client::kubeconfig::list;
use mcsa_credentials::names;

/// The longest name of a cluster: it is also a label of the virtual node.
const MAX_NAME: usize = 63;

/// The most clusters of a kubeconfig, and the most profiles: all are read again when one of the Secrets changes.
const MAX_ENTRIES: usize = 1_000;

/// Argo's multi-cluster designs. A later one precedes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Design {
    RestConfigs,
    Kubeconfigs,
    Profiles,
}

impl Design {
    pub(super) const ALL: [Self; 3] = [Self::RestConfigs, Self::Kubeconfigs, Self::Profiles];
}

/// Pods of a namespace may run in a namespace of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Launch {
    pub(super) namespace: String,
    pub(super) cluster: String,
    pub(super) remote_namespace: String,
}

/// The credential of a launch.
pub(super) struct Access {
    pub(super) design: Design,
    pub(super) config: Config,
}

/// The launches that a Secret, or an entry of it, would give. `None`: of all namespaces, of all clusters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    pub(super) design: Design,
    pub(super) namespace: Option<String>,
    pub(super) cluster: Option<String>,
}

/// The Secrets, as observed.
#[derive(Default)]
pub(super) struct Secrets<'a> {
    /// How they are read.
    pub(super) reader: Reader,
    /// The rest configs, in the workflow controller's namespace.
    pub(super) clusters: Option<&'a Secret>,
    /// By namespace.
    pub(super) kubeconfigs: BTreeMap<&'a str, &'a Secret>,
    /// In the workflow controller's namespace.
    pub(super) profiles: Vec<&'a Secret>,
}

#[derive(Default)]
pub(super) struct Plan {
    pub(super) launches: BTreeMap<Launch, Access>,
    /// What is wrong with the Secrets. They quote no value.
    pub(super) problems: BTreeSet<String>,
    /// What Secrets and entries would give that exist, but can't be used. Those that were deleted are not among them.
    pub(super) unusable: BTreeSet<Scope>,
}

/// `controller` is the workflow controller's namespace, and one of the `namespaces` whose pods may use the Secrets.
pub(super) fn plan(controller: &str, namespaces: &BTreeSet<String>, secrets: &Secrets<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.add_rest_configs(namespaces, secrets);
    plan.add_contexts(controller, namespaces, secrets);
    plan.add_profiles(namespaces, secrets);
    plan
}

/// The kubeconfig of the workflow controller's namespace: only its clusters may be used.
struct Known<'a> {
    reader: Reader,
    controller: &'a str,
    contexts: &'a Contexts,
    names: BTreeSet<&'a str>,
}

impl Plan {
    /// Whether a Secret or entry of this design would give the launch, but can't be used.
    pub(super) fn lacks(&self, design: Design, launch: &Launch) -> bool {
        [Some(&launch.namespace), None].into_iter().any(|namespace| {
            [Some(&launch.cluster), None].into_iter().any(|cluster| {
                let (namespace, cluster) = (namespace.cloned(), cluster.cloned());
                self.unusable.contains(&Scope { design, namespace, cluster })
            })
        })
    }

    /// The first design has no remote namespaces: pods run in the namespace of the same name.
    fn add_rest_configs(&mut self, namespaces: &BTreeSet<String>, secrets: &Secrets<'_>) {
        let design = Design::RestConfigs;
        let Some(secret) = secrets.clusters else { return };
        for cluster in secret.data.iter().flat_map(BTreeMap::keys) {
            let scope = Scope::new(design, None, Some(cluster));
            if let Some(config) = self.usable(scope, secrets.reader.rest_config(secret, cluster)) {
                for namespace in namespaces {
                    self.add(design, [namespace, cluster, namespace], &config);
                }
            }
        }
    }

    /// The second design: the controller's Secret has the clusters. Each other namespace has its own users.
    fn add_contexts(&mut self, controller: &str, namespaces: &BTreeSet<String>, secrets: &Secrets<'_>) {
        let Secrets { reader, kubeconfigs, .. } = secrets;
        // Without it, the design is not in use, and a Secret of that name may be for something else.
        let Some(clusters) = kubeconfigs.get(controller) else { return };
        let contexts = match reader.kubeconfig(clusters) {
            Ok(contexts) => contexts,
            Err(error) => {
                // Without a Secret of its own, a namespace has no access.
                for namespace in kubeconfigs.keys() {
                    self.fail(Scope::new(Design::Kubeconfigs, Some(namespace), None), error.to_string());
                }
                return;
            }
        };
        let known =
            Known { reader: *reader, controller, contexts: &contexts, names: contexts.names().collect() };
        for namespace in namespaces {
            if namespace == controller {
                self.add_users(namespace, &known, &contexts);
            } else if let Some(secret) = kubeconfigs.get(namespace.as_str()) {
                match reader.kubeconfig(secret) {
                    Ok(users) => self.add_users(namespace, &known, &users),
                    Err(error) => {
                        for cluster in &known.names {
                            let scope = Scope::new(Design::Kubeconfigs, Some(namespace), Some(cluster));
                            self.fail(scope, error.to_string());
                        }
                    }
                }
            }
        }
    }

    /// The contexts of a namespace.
    fn add_users(&mut self, namespace: &str, known: &Known<'_>, users: &Contexts) {
        let design = Design::Kubeconfigs;
        let (mut names, others): (Vec<_>, Vec<_>) =
            users.names().partition(|name| known.names.contains(name));
        if !others.is_empty() {
            let (controller, others) = (known.controller, others.into_iter().map(str::to_owned));
            self.problems.insert(format!(
                "Secret {namespace}/{KUBECONFIG}: Secret {controller}/{KUBECONFIG} does not have these contexts: {}; \
                 add them there, or remove them here",
                list(&others.collect::<Vec<_>>())
            ));
        }
        if names.len() > MAX_ENTRIES {
            self.fail(
                Scope::new(design, Some(namespace), None),
                format!(
                    "Secret {namespace}/{KUBECONFIG} has {} contexts, of which only the first {MAX_ENTRIES} are used; \
                     remove some",
                    names.len()
                ),
            );
            names.truncate(MAX_ENTRIES);
        }
        for cluster in names {
            let scope = Scope::new(design, Some(namespace), Some(cluster));
            let read = known.reader.workflow_context(known.contexts, users, cluster);
            if let Some((config, managed)) = self.usable(scope, read) {
                let remote = if managed.is_empty() { namespace } else { &*managed };
                self.add(design, [namespace, cluster, remote], &config);
            }
        }
    }

    /// The third design: the most specific profile wins.
    fn add_profiles(&mut self, namespaces: &BTreeSet<String>, secrets: &Secrets<'_>) {
        let (design, reader, secrets) = (Design::Profiles, secrets.reader, &secrets.profiles);
        if secrets.len() > MAX_ENTRIES {
            let problem = format!(
                "there are {} profiles, of which only the first {MAX_ENTRIES} are used; delete some",
                secrets.len()
            );
            self.fail(Scope::new(design, None, None), problem);
        }
        let read = |secret: &&Secret| {
            let read = reader.profile(secret);
            let own = secret.metadata.namespace.as_ref();
            let namespace = secret.annotations().get(WORKFLOW_NAMESPACE).or(own);
            let namespace = namespace.map(String::as_str).filter(|namespace| !namespace.is_empty());
            // The list selects the label.
            let cluster = secret.labels().get(CLUSTER_LABEL).map(String::as_str);
            self.usable(Scope::new(design, namespace, Some(cluster.unwrap_or_default())), read)
        };
        let profiles: Profiles = secrets.iter().take(MAX_ENTRIES).filter_map(read).collect();
        let mut launches = BTreeSet::new();
        for namespace in namespaces {
            for profile in profiles.iter() {
                let remote = profile.namespace.as_ref().unwrap_or(namespace);
                if profile.is_for(namespace, &profile.cluster, remote) {
                    launches.insert([namespace, &profile.cluster, remote]);
                }
            }
        }
        for [namespace, cluster, remote] in launches {
            let scope = Scope::new(design, Some(namespace), Some(cluster));
            if let Some(Some(best)) = self.usable(scope, profiles.find(namespace, cluster, remote)) {
                self.add(design, [namespace, cluster, remote], &best.config);
            }
        }
    }

    fn usable<T>(&mut self, scope: Scope, read: Result<T, ArgoError>) -> Option<T> {
        read.map_err(|error| self.fail(scope, error.to_string())).ok()
    }

    fn fail(&mut self, scope: Scope, problem: String) {
        self.problems.insert(problem);
        self.unusable.insert(scope);
    }

    fn add(&mut self, design: Design, [namespace, cluster, remote_namespace]: [&str; 3], config: &Config) {
        if cluster.len() > MAX_NAME || !names::is_dns_subdomain(cluster) {
            self.problems.insert(format!(
                "cluster {cluster:?} can't be a virtual node: rename it in Argo's Secrets, to at most {MAX_NAME} \
                 lower-case letters, digits, - and ."
            ));
            return;
        }
        // It becomes a part of URLs.
        if let Err(problem) = names::namespace(remote_namespace) {
            let problem = format!(
                "Argo's Secrets name a namespace of cluster {cluster} for workflows in {namespace} that is {problem}"
            );
            self.fail(Scope::new(design, Some(namespace), Some(cluster)), problem);
            return;
        }
        let launch = Launch {
            namespace: namespace.to_owned(),
            cluster: cluster.to_owned(),
            remote_namespace: remote_namespace.to_owned(),
        };
        let mut config = config.clone();
        config.default_namespace = remote_namespace.to_owned();
        self.launches.insert(launch, Access { design, config });
    }
}

impl Scope {
    pub(super) fn new(design: Design, namespace: Option<&str>, cluster: Option<&str>) -> Self {
        Self { design, namespace: namespace.map(str::to_owned), cluster: cluster.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests;
