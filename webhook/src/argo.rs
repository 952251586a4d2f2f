//! Namespaces whose pods use the Secrets of Argo Workflows' multi-cluster designs. The launcher runs these pods with
//! the Secrets; the webhook does not read them. It watches the name that the workflow controller's ConfigMap gives to
//! this cluster.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher, watcher::watch_object};
use kube::{Api, Client};
use mcsa_client::argo::{CONTROLLER_CONFIG_MAP, ClusterLine, local_cluster};
use mcsa_runtime::argo::ArgoArgs;
use mcsa_runtime::errors;
use tracing::{info, warn};

#[derive(Default)]
pub(crate) struct ArgoNamespaces {
    /// The namespace of the workflow controller.
    controller: Option<String>,
    names: BTreeSet<String>,
    local_cluster: RwLock<LocalCluster>,
}

impl ArgoNamespaces {
    /// The name of this cluster is unknown until [`Self::watch`] has read the ConfigMap.
    pub(crate) fn new(args: &ArgoArgs) -> Self {
        let (controller, names) = (args.controller_namespace().map(str::to_owned), args.namespaces());
        Self { controller, names, local_cluster: RwLock::default() }
    }

    /// Whether pods of the namespace use the Secrets.
    pub(crate) fn contains(&self, namespace: &str) -> bool {
        self.names.contains(namespace)
    }

    /// The name of this cluster, if pods of the namespace use the Secrets.
    pub(crate) fn cluster_name(&self, namespace: &str) -> Option<String> {
        if !self.contains(namespace) {
            return None;
        }
        self.local_cluster.read().unwrap_or_else(PoisonError::into_inner).name.clone()
    }

    /// Why it is unknown whether this cluster has a name. `None`: it is known.
    pub(crate) fn problem_with_name(&self) -> Option<String> {
        let local = self.local_cluster.read().unwrap_or_else(PoisonError::into_inner);
        (!local.is_read).then(|| {
            let unread = || format!("ConfigMap {CONTROLLER_CONFIG_MAP} was not read yet");
            local.problem.clone().unwrap_or_else(unread)
        })
    }

    /// Keeps the name of this cluster up to date. Never fails: only pods that name this cluster need the ConfigMap.
    pub(crate) async fn watch(&self, client: Client) -> Infallible {
        if let Some(namespace) = &self.controller {
            let api: Api<ConfigMap> = Api::namespaced(client, namespace);
            let mut events = pin!(watch_object(api, CONTROLLER_CONFIG_MAP).default_backoff());
            while let Some(event) = events.next().await {
                self.update(read(namespace, event));
            }
        }
        std::future::pending().await
    }

    /// Records the name, or why it is unknown. Logs changes.
    pub(crate) fn update(&self, read: Result<Option<String>, Problem>) {
        let is_new = self.local_cluster.write().unwrap_or_else(PoisonError::into_inner).update(&read);
        match read {
            _ if !is_new => {}
            Ok(Some(name)) => info!("{}", ClusterLine { cluster: &name, managed_namespace: "" }),
            Ok(None) => info!("the workflow controller no longer has a name for this cluster"),
            Err(Problem { reason, .. }) => {
                warn!(reason, "can't read the workflow controller's name for this cluster; retrying");
            }
        }
    }
}

/// Why the name could not be read.
#[derive(Debug)]
pub(crate) struct Problem {
    reason: String,
    /// Whether the webhook may not read the ConfigMap, or can't use its value. Then, pods do not wait for the name.
    is_lasting: bool,
}

/// What is known of the name of this cluster.
#[derive(Default)]
struct LocalCluster {
    name: Option<String>,
    /// Whether `None` means that this cluster has no name. Before, the ConfigMap could still have one.
    is_read: bool,
    /// Why the name could not be read the last time.
    problem: Option<String>,
}

impl LocalCluster {
    /// Keeps the last name if it can't be read. Returns whether the name or the problem is new.
    fn update(&mut self, read: &Result<Option<String>, Problem>) -> bool {
        match read {
            Ok(name) => {
                self.is_read = true;
                self.problem = None;
                let is_new = self.name != *name;
                self.name.clone_from(name);
                is_new
            }
            Err(Problem { reason, is_lasting }) => {
                self.is_read |= is_lasting;
                self.problem.replace(reason.clone()).as_ref() != Some(reason)
            }
        }
    }
}

/// Reads the name. `None`: the ConfigMap does not exist, or has no name.
fn read(namespace: &str, observed: watcher::Result<Option<ConfigMap>>) -> Result<Option<String>, Problem> {
    match observed {
        Ok(Some(config_map)) => local_cluster(&config_map)
            .map_err(|error| Problem { reason: error.to_string(), is_lasting: true }),
        Ok(None) => Ok(None),
        Err(error) => {
            let reason = errors::line(&error);
            let reason = format!("can't watch ConfigMap {namespace}/{CONTROLLER_CONFIG_MAP}: {reason}");
            Err(Problem { reason, is_lasting: is_forbidden(&error) })
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => status.is_forbidden(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use rstest::rstest;
    use serde_json::json;

    fn config_map(cluster: &str) -> watcher::Result<Option<ConfigMap>> {
        let metadata = json!({ "name": CONTROLLER_CONFIG_MAP, "namespace": "argo" });
        let config_map = json!({ "metadata": metadata, "data": { "cluster": cluster } });
        Ok(Some(serde_json::from_value(config_map).unwrap()))
    }

    fn refused(message: &str, reason: &str, code: u16) -> watcher::Result<Option<ConfigMap>> {
        let status = Status::failure(message, reason).with_code(code);
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status.boxed())))
    }

    fn forbidden() -> watcher::Result<Option<ConfigMap>> {
        refused("configmaps is forbidden", "Forbidden", 403)
    }

    fn failed() -> watcher::Result<Option<ConfigMap>> {
        refused("no etcd", "InternalError", 500)
    }

    #[test]
    fn last_name_is_kept_if_the_config_map_cannot_be_read() {
        let mut known = LocalCluster::default();
        for (event, name, is_new) in [
            (Ok(None), None, false),
            (forbidden(), None, true),
            (forbidden(), None, false),
            (config_map("cluster-0"), Some("cluster-0"), true),
            (config_map("cluster-0"), Some("cluster-0"), false),
            (forbidden(), Some("cluster-0"), true),
            (config_map("[no name]"), Some("cluster-0"), true),
            (config_map("[no name]"), Some("cluster-0"), false),
            (config_map("main"), Some("main"), true),
            (config_map(""), None, true),
            (config_map("main"), Some("main"), true),
            (Ok(None), None, true),
        ] {
            let event_text = format!("{event:?}");
            assert_eq!(known.update(&read("argo", event)), is_new, "{event_text}");
            assert_eq!(known.name.as_deref(), name, "{event_text}");
        }
    }

    #[test]
    fn problem_names_the_config_map() {
        for event in [forbidden(), config_map("[no name]")] {
            let problem = read("argo", event).unwrap_err().reason;
            assert!(problem.contains("ConfigMap argo/workflow-controller-configmap"), "{problem}");
        }
    }

    #[rstest]
    #[case::nothing_happened(vec![], true)]
    #[case::failed(vec![failed()], true)]
    #[case::watch_failed(vec![Err(watcher::Error::NoResourceVersion)], true)]
    #[case::forbidden(vec![forbidden()], false)]
    #[case::invalid(vec![config_map("[no name]")], false)]
    #[case::no_config_map(vec![Ok(None)], false)]
    #[case::no_name(vec![config_map("")], false)]
    #[case::read_before(vec![Ok(None), failed()], false)]
    fn name_is_unknown_until_the_config_map_was_read(
        #[case] events: Vec<watcher::Result<Option<ConfigMap>>>,
        #[case] is_unknown: bool,
    ) {
        let argo = ArgoNamespaces::default();
        for event in events {
            argo.update(read("argo", event));
        }
        assert_eq!(argo.problem_with_name().is_some(), is_unknown);
    }

    #[test]
    fn name_belongs_to_the_namespaces_that_use_the_secrets() {
        let argo =
            ArgoNamespaces::new(&ArgoArgs { argo_namespace: Some("argo".into()), ..ArgoArgs::default() });
        argo.update(Ok(Some("cluster-0".into())));
        assert_eq!(argo.cluster_name("argo").as_deref(), Some("cluster-0"));
        assert_eq!(argo.cluster_name("default"), None);
    }
}
