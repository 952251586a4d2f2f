//! Decides in which clusters a pod may run: a pure function of its annotations and the launch imports of its namespace.

mod secret;

use std::collections::{BTreeMap, BTreeSet};

use mcsa_credentials::contract::launch;

use crate::imports::LaunchImport;
use crate::message::{list, quote};
use crate::pod::Pod;

/// What a pod's annotations ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// [`launch::CLUSTER_NAME`]; without it, the pod has [`launch::ELECT`].
    cluster: Option<&'a str>,
    /// [`launch::REMOTE_NAMESPACE`].
    remote_namespace: Option<&'a str>,
}

/// The cluster in which a pod is created: its target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The names of the cluster, by which sources and workflows of the namespace know it.
    pub names: &'a [String],
    /// Whether Secrets of Argo Workflows may give pods of the namespace access to clusters without launch imports.
    pub uses_secrets: bool,
}

impl Home<'_> {
    fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

/// Where a pod may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// In the cluster in which it is created.
    pub home: bool,
    /// In these clusters, in alphabetical order, without duplicates.
    pub clusters: Vec<String>,
    /// Not in these clusters, although they have launch imports.
    pub ambiguous: Vec<Ambiguous>,
    /// The clusters lack a launch import. A Secret of Argo Workflows may give access to them.
    pub by_secret: bool,
}

/// A cluster in which a pod could run in several namespaces. The launcher would not select one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous {
    pub cluster: String,
    pub namespaces: Vec<String>,
}

/// The pod's annotations can't be followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(
        "annotation {annotation} is {value}, which is a template: set the parameter that it refers to, or write the name \
         of a {kind}"
    )]
    Template { annotation: &'static str, value: String, kind: &'static str },
    #[error("annotation {annotation} is empty: write the name of a {kind}, or remove the annotation")]
    Empty { annotation: &'static str, kind: &'static str },
    #[error(
        "annotation {} is {cluster}, but namespace {namespace} has {}; {}run kubemcsa launch {namespace} --target-context \
         TARGET --source-context SOURCE",
        launch::CLUSTER_NAME,
        launch_imports(" of", known),
        choice(known, home.as_deref())
    )]
    Cluster {
        cluster: String,
        namespace: String,
        /// The clusters that the namespace has launch imports for.
        known: Vec<String>,
        /// A name of this cluster, if it has one.
        home: Option<String>,
    },
    #[error(
        "annotation {} is {remote}, but namespace {namespace} has {}; {}run kubemcsa launch {namespace} \
         --remote-namespace NAMESPACE --target-context TARGET --source-context SOURCE",
        launch::REMOTE_NAMESPACE,
        launch_imports(&format!("{of} for"), known),
        choice(known, None)
    )]
    Namespace {
        remote: String,
        namespace: String,
        /// ` of` and the cluster that the pod names; empty for any cluster.
        of: String,
        /// The namespaces that the launch imports have.
        known: Vec<String>,
    },
    #[error(
        "annotation {} is {cluster}, but namespace {namespace} has launch imports of it for several namespaces: choose \
         one of {} with annotation {}",
        launch::CLUSTER_NAME,
        list(remotes),
        launch::REMOTE_NAMESPACE
    )]
    Ambiguous {
        cluster: String,
        namespace: String,
        /// The namespaces that the launch imports have.
        remotes: Vec<String>,
    },
    #[error(
        "annotation {} is {remote}, but annotation {} is {cluster}, the name of this cluster, where the pod runs in its \
         own namespace {namespace}; remove annotation {}",
        launch::REMOTE_NAMESPACE,
        launch::CLUSTER_NAME,
        launch::REMOTE_NAMESPACE
    )]
    NamespaceAtHome { remote: String, cluster: String, namespace: String },
}

impl<'a> Request<'a> {
    /// `None` if the annotations ask for nothing.
    pub(crate) fn of(pod: &'a Pod) -> Option<Self> {
        let annotations = pod.unmirrored_annotations()?;
        let cluster = annotations.cluster_name.as_deref();
        if cluster.is_none() && annotations.elect.is_none() {
            return None;
        }
        Some(Self { cluster, remote_namespace: annotations.remote_namespace.as_deref() })
    }

    /// Where the pod may run, by these launch imports of its namespace, or else by Secrets.
    pub(crate) fn place(&self, home: Home, imports: &[LaunchImport]) -> Result<Placement, Refused> {
        self.place_by_imports(home, imports).or_else(|refused| self.place_by_secret(home, refused))
    }

    fn place_by_imports(&self, home: Home, imports: &[LaunchImport]) -> Result<Placement, Refused> {
        check(launch::CLUSTER_NAME, self.cluster, "cluster")?;
        check(launch::REMOTE_NAMESPACE, self.remote_namespace, "namespace")?;
        match self.cluster {
            Some(cluster) if home.has_name(cluster) => self.stay_home(home, cluster),
            Some(cluster) => self.run_in(home, cluster, imports),
            None => self.elect(home, imports),
        }
    }

    /// Whether launch imports that the webhook doesn't know of could change the result. Not if the pod is placed by a
    /// Secret: they would place it on the same node.
    pub(crate) fn lacks_imports(&self, placed: &Result<Placement, Refused>) -> bool {
        match placed {
            Ok(placement) => self.cluster.is_none() && placement.clusters.is_empty(),
            Err(refused) => matches!(
                refused,
                Refused::Cluster { .. } | Refused::Namespace { .. } | Refused::Ambiguous { .. }
            ),
        }
    }

    /// Warns of a pod that elects other clusters, but can't run in some, or in any. Also warns of a pod that is placed by
    /// a Secret.
    pub(crate) fn warning(&self, home: Home, placement: &Placement) -> Option<String> {
        if placement.by_secret {
            return Some(self.warning_of_secret(home));
        }
        let namespace = home.namespace;
        if !placement.ambiguous.is_empty() {
            let name =
                |left_out: &Ambiguous| format!("{} ({})", left_out.cluster, list(&left_out.namespaces));
            let left_out: Vec<_> = placement.ambiguous.iter().map(name).collect();
            // The clusters are last, because the API server may cut warnings after 256 characters.
            return Some(format!(
                "namespace {namespace} has launch imports for several namespaces of some clusters: without annotation \
                 {}, the pod does not run in {}",
                launch::REMOTE_NAMESPACE,
                list(&left_out)
            ));
        }
        (self.cluster.is_none() && placement.clusters.is_empty()).then(|| {
            format!(
                "namespace {namespace} has no launch import: the pod runs in this cluster, although it has annotation \
                 {}; run kubemcsa launch {namespace} --target-context TARGET --source-context SOURCE",
                launch::ELECT
            )
        })
    }

    fn stay_home(&self, home: Home, cluster: &str) -> Result<Placement, Refused> {
        match self.remote_namespace {
            Some(remote) if remote != home.namespace => Err(Refused::NamespaceAtHome {
                remote: quote(remote),
                cluster: quote(cluster),
                namespace: home.namespace.to_owned(),
            }),
            _ => Ok(Placement { home: true, ..Placement::default() }),
        }
    }

    fn run_in(&self, home: Home, cluster: &str, imports: &[LaunchImport]) -> Result<Placement, Refused> {
        let of_cluster: Vec<_> = imports.iter().filter(|import| *import.cluster == *cluster).collect();
        if of_cluster.is_empty() {
            return Err(Refused::Cluster {
                cluster: quote(cluster),
                namespace: home.namespace.to_owned(),
                known: sorted(imports.iter().map(|import| &*import.cluster)),
                home: home.names.first().cloned(),
            });
        }
        let mut placement = self.permitted(home, of_cluster.into_iter(), &format!(" of {cluster}"))?;
        match placement.ambiguous.pop() {
            None => Ok(placement),
            Some(Ambiguous { cluster, namespaces: remotes }) => Err(Refused::Ambiguous {
                cluster: quote(&cluster),
                namespace: home.namespace.to_owned(),
                remotes,
            }),
        }
    }

    fn elect(&self, home: Home, imports: &[LaunchImport]) -> Result<Placement, Refused> {
        Ok(Placement { home: true, ..self.permitted(home, imports.iter(), "")? })
    }

    /// The clusters of the imports that have the requested namespace. Fails if there are none. If no namespace is
    /// requested, selects one of a cluster's imports as the launcher does: the only one, or that of the same name.
    fn permitted<'i>(
        &self,
        home: Home,
        imports: impl Iterator<Item = &'i LaunchImport> + Clone,
        of: &str,
    ) -> Result<Placement, Refused> {
        let is_requested =
            |import: &&LaunchImport| self.remote_namespace.is_none_or(|remote| *import.namespace == *remote);
        let mut remotes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for import in imports.clone().filter(is_requested) {
            remotes.entry(&import.cluster).or_default().push(&import.namespace);
        }
        if let Some(remote) = self.remote_namespace.filter(|_| remotes.is_empty()) {
            return Err(Refused::Namespace {
                remote: quote(remote),
                namespace: home.namespace.to_owned(),
                of: of.to_owned(),
                known: sorted(imports.map(|import| &*import.namespace)),
            });
        }
        let mut placement = Placement::default();
        for (cluster, remotes) in remotes {
            let cluster = cluster.to_owned();
            if self.remote_namespace.is_some() || remotes.len() == 1 || remotes.contains(&home.namespace) {
                placement.clusters.push(cluster);
            } else {
                let namespaces = sorted(remotes.into_iter());
                placement.ambiguous.push(Ambiguous { cluster, namespaces });
            }
        }
        Ok(placement)
    }
}

/// Warns of a pod that names a namespace, but no cluster. It is used even so if the pod itself tolerates virtual nodes.
pub(crate) fn unused_namespace(pod: &Pod) -> Option<String> {
    pod.unmirrored_annotations()?.remote_namespace.as_ref()?;
    let mut tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let is_used =
        Request::of(pod).is_some() || tolerations.any(|toleration| toleration.is_of_virtual_nodes());
    (!is_used).then(|| {
        format!(
            "annotation {} has no effect without annotation {} or {}: the pod runs in this cluster",
            launch::REMOTE_NAMESPACE,
            launch::ELECT,
            launch::CLUSTER_NAME
        )
    })
}

fn launch_imports(of: &str, known: &[String]) -> String {
    match known {
        [] => "no launch import".to_owned(),
        known => format!("launch imports{of} {} only", list(known)),
    }
}

/// What the user may choose instead.
fn choice(known: &[String], home: Option<&str>) -> String {
    match (known, home) {
        ([], None) => String::new(),
        ([], Some(home)) => format!("choose {home} (this cluster), or "),
        (_, None) => "choose one of these, or ".to_owned(),
        (_, Some(home)) => format!("choose one of these or {home} (this cluster), or "),
    }
}

/// Refuses values that are no names, whatever imports there are.
fn check(annotation: &'static str, value: Option<&str>, kind: &'static str) -> Result<(), Refused> {
    match value {
        Some("") => Err(Refused::Empty { annotation, kind }),
        Some(value) if value.contains("{{") => {
            Err(Refused::Template { annotation, value: quote(value), kind })
        }
        _ => Ok(()),
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
