//! Adds the launches of a plan to the set of clusters.

use std::collections::{BTreeMap, BTreeSet};

use kube::Config;
use mcsa_client::argo::ClusterLine;
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::config::ConfigError;
use mcsa_client::live::LiveConfig;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use mcsa_credentials::contract::launch::{ARGO, LABEL};
use mcsa_runtime::errors;
use tokio::sync::watch;

use super::plan::{Access, Design, Launch, Plan};
use crate::launch_import::{is_granted, is_made_up};

/// The service account in the imports of these members, whose own service account is unknown. It names the stub.
const ACCOUNT: &str = "argo-secrets";

/// The members that this file has added.
pub(super) struct Members {
    clusters: Clusters,
    joined: BTreeMap<Launch, Joined>,
    /// Each problem is logged once.
    problems: BTreeSet<String>,
}

struct Joined {
    design: Design,
    /// The config that the member's client reads.
    config: watch::Sender<Config>,
}

impl Members {
    pub(super) fn new(clusters: Clusters) -> Self {
        Self { clusters, joined: BTreeMap::new(), problems: BTreeSet::new() }
    }

    /// Adds new launches, updates those that are members, and removes those of deleted Secrets and entries. A member
    /// whose Secret or entry can't be used any more keeps its config: no earlier design replaces it.
    ///
    /// A launch import precedes an equal launch if it gives the rights that steps need.
    pub(super) fn apply(&mut self, plan: &Plan) {
        let members = self.clusters.members();
        let imported: BTreeSet<_> =
            members.iter().filter(|member| is_granted(member)).filter_map(imported).collect();
        self.joined.retain(|launch, joined| {
            let is_planned = plan.launches.contains_key(launch) || plan.lacks(joined.design, launch);
            let stays = is_planned && !imported.contains(launch);
            if !stays {
                leave(&self.clusters, launch);
            }
            stays
        });
        let mut problems = plan.problems.clone();
        for (launch, Access { design, config }) in &plan.launches {
            if imported.contains(launch) {
                continue;
            }
            if let Some(joined) = self.joined.get_mut(launch) {
                if *design >= joined.design || !plan.lacks(joined.design, launch) {
                    joined.design = *design;
                    joined.config.send_replace(config.clone());
                }
                continue;
            }
            // Its place stays free for the entry of a later design that can't be used now.
            if Design::ALL.into_iter().any(|later| later > *design && plan.lacks(later, launch)) {
                continue;
            }
            match join(&self.clusters, launch, config.clone()) {
                Ok(config) => drop(self.joined.insert(launch.clone(), Joined { design: *design, config })),
                Err(error) => drop(problems.insert(error.to_string())),
            }
        }
        for problem in problems.difference(&self.problems) {
            tracing::warn!(problem = errors::short(problem), "can't use a Secret of Argo Workflows");
        }
        self.problems = problems;
    }
}

/// The launch that a launch import provides. `None`: the member has no import, or a made-up one.
pub(super) fn imported(member: &Member) -> Option<Launch> {
    let import = member.import().filter(|import| !is_made_up(import))?;
    Some(Launch {
        namespace: import.metadata.namespace.clone().unwrap_or_default(),
        cluster: import.spec.cluster_name.clone(),
        remote_namespace: member.default_namespace().to_owned(),
    })
}

fn join(clusters: &Clusters, launch: &Launch, config: Config) -> Result<watch::Sender<Config>, ConfigError> {
    let name = name(launch);
    let (sender, receiver) = watch::channel(config);
    let description = format!("a Secret of Argo Workflows for {name}");
    let live = LiveConfig::from_fn(description, move || receiver.borrow().clone())?;
    if clusters.join_as_import(name.clone(), live, import(launch)).is_none() {
        return Err(ConfigError::DuplicateName(name));
    }
    let Launch { namespace, cluster, remote_namespace } = launch;
    let line = ClusterLine { cluster, managed_namespace: remote_namespace };
    tracing::info!(workflow_namespace = &**namespace, "{line}");
    Ok(sender)
}

fn leave(clusters: &Clusters, launch: &Launch) {
    let name = name(launch);
    clusters.leave(&name);
    tracing::info!(cluster = &*name, "cluster of a Secret of Argo Workflows left");
}

/// Names of imports have no slash.
fn name(launch: &Launch) -> String {
    let Launch { namespace, cluster, remote_namespace } = launch;
    format!("{namespace}.{cluster}/{remote_namespace}")
}

fn import(launch: &Launch) -> ServiceAccountImport {
    let spec = ServiceAccountImportSpec {
        cluster_name: launch.cluster.clone(),
        namespace: launch.remote_namespace.clone(),
        name: ACCOUNT.to_owned(),
        ..Default::default()
    };
    let mut import = ServiceAccountImport::new(&format!("argo-{}", launch.cluster), spec);
    let is_true = |key: &str| Some([(key.to_owned(), "true".to_owned())].into());
    import.metadata.namespace = Some(launch.namespace.clone());
    import.metadata.labels = is_true(LABEL);
    import.metadata.annotations = is_true(ARGO);
    import
}

#[cfg(test)]
mod tests;
