//! The watches of import policies, and of the labels of namespaces that they select by.

use std::sync::Arc;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::{ImportPolicy, ImportPolicySpec};
use mcsa_runtime::errors::foreign;

use super::PAUSE;
use super::context::WatchContext;
use crate::model::scope::Scope;

/// Watches the import policies.
pub async fn policies(client: Client, context: Arc<WatchContext>) {
    // A policy that can't be read must not fail the list.
    let events = watcher(Api::<DeserializeGuard<ImportPolicy>>::all(client), watcher::Config::default());
    let events = events.inspect_err(|error| {
        if is_not_served(error) {
            context.enqueue(context.cache.observe_no_policies());
            context.is_synced.send_replace(context.cache.is_synced());
        }
    });
    let observe = |event| {
        let changed = context.cache.observe_policy(event);
        context.needs_labels.send_replace(context.cache.needs_labels());
        changed
    };
    context.follow("import policies", &Scope::All, events, policy, observe).await;
}

/// Watches the labels of the namespaces of a scope while a policy selects by labels.
pub async fn namespaces(client: Client, scope: Scope, context: Arc<WatchContext>) {
    let mut config = watcher::Config::default();
    if let Some(name) = scope.namespace() {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let labels = |namespace: PartialObjectMeta<Namespace>| (namespace.name_any(), namespace.labels().clone());
    let mut needs_labels = context.needs_labels.subscribe();
    // The sender lives as long as the context.
    while needs_labels.wait_for(|needed| *needed).await.is_ok() {
        let api = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        let observe = |event| context.cache.observe_namespace(&scope, event);
        let follow = async {
            let events = watcher(api, config.clone());
            // Without the right, the labels stay unknown: `Scope::All` must not be absent.
            context.follow("namespaces", &Scope::All, events, labels, observe).await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = follow => {}
            _ = needs_labels.wait_for(|needed| !*needed) => context.cache.forget_namespaces(&scope),
        }
    }
}

/// A policy that can't be read applies to all sources, and permits nothing.
fn policy(guard: DeserializeGuard<ImportPolicy>) -> (String, ImportPolicySpec) {
    let name = guard.name_any();
    match guard.0 {
        Ok(policy) => (name, policy.spec),
        Err(error) => {
            let error = error.to_string();
            tracing::warn!(
                policy = name,
                error,
                "can't read this ImportPolicy: it permits no import of any source"
            );
            (name, ImportPolicySpec::default())
        }
    }
}

/// Whether the definition is not installed.
fn is_not_served(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(error) if foreign::is_missing_path(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn policy_that_can_not_be_read_permits_nothing() {
        let object = |on_revoke: &str| {
            json!({
                "metadata": { "name": "p" },
                "spec": { "clusterName": "c2", "onRevoke": on_revoke },
            })
        };
        let read = |on_revoke| policy(serde_json::from_value(object(on_revoke)).unwrap());
        assert_eq!(read("Delete").1.cluster_name.as_deref(), Some("c2"));
        assert_eq!(read("Later"), ("p".to_owned(), ImportPolicySpec::default()));
    }
}
