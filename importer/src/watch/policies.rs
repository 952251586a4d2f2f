//! The watches of import policies, and of the labels of namespaces that they select by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mcsa_client::{ImportPolicy, ImportPolicySpec, ServiceAccountImport};
use mcsa_runtime::deadline::with_deadline;

use super::PAUSE;
use super::context::WatchContext;
use super::objects::PAGE_SIZE;
use crate::model::scope::Scope;

/// Watches the import policies.
pub async fn policies(client: Client, context: Arc<WatchContext>) {
    // A policy that can't be read must not fail the list.
    let api = Api::<DeserializeGuard<ImportPolicy>>::all(client.clone());
    let events = watcher(api, watcher::Config::default().page_size(PAGE_SIZE)).default_backoff();
    let events = events.then(|event| without_definition(&client, event)).flat_map(stream::iter);
    let observe = |event| {
        let changed = context.cache.observe_policy(event);
        context.needs_labels.send_replace(context.cache.needs_labels());
        changed
    };
    let logged = Mutex::default();
    context.follow("import policies", &Scope::All, events, |guard| policy(guard, &logged), observe).await;
}

/// Replaces the error of a list by an empty list, if the definition is not installed.
async fn without_definition<K>(
    client: &Client,
    event: watcher::Result<Event<K>>,
) -> Vec<watcher::Result<Event<K>>> {
    let is_not_found = matches!(
        &event,
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404
    );
    if is_not_found && serves_no_policies(client).await {
        return vec![Ok(Event::Init), Ok(Event::InitDone)];
    }
    vec![event]
}

/// Whether the API server serves imports, but no policies. The 404 of a list is no proof, because proxies send it, too:
/// it must not permit all imports.
async fn serves_no_policies(client: &Client) -> bool {
    let version = ImportPolicy::api_version(&());
    let discovered = with_deadline(client.list_api_group_resources(&version)).await;
    discovered.is_ok_and(|served| {
        let serves = |plural: &str| served.resources.iter().any(|resource| resource.name == plural);
        serves(&ServiceAccountImport::plural(&())) && !serves(&ImportPolicy::plural(&()))
    })
}

/// Watches the labels of the namespaces of a scope while a policy selects by labels.
pub async fn namespaces(client: Client, scope: Scope, context: Arc<WatchContext>) {
    let mut config = watcher::Config::default().page_size(PAGE_SIZE);
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

/// A policy that can't be read applies to all sources, and permits nothing. `logged` has the versions that can't be
/// read, by name: each is logged once.
fn policy(
    guard: DeserializeGuard<ImportPolicy>,
    logged: &Mutex<HashMap<String, Option<String>>>,
) -> (String, ImportPolicySpec) {
    let (name, version) = (guard.name_any(), guard.resource_version());
    let mut logged = logged.lock().unwrap_or_else(PoisonError::into_inner);
    match guard.0 {
        Ok(policy) => {
            logged.remove(&name);
            (name, policy.spec)
        }
        Err(error) => {
            if logged.get(&name) != Some(&version) {
                let error = error.to_string();
                tracing::warn!(
                    policy = name,
                    error,
                    "can't read this ImportPolicy: it permits no import of any source"
                );
                logged.insert(name.clone(), version);
            }
            (name, ImportPolicySpec::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use tower::service_fn;

    #[test]
    fn policy_that_can_not_be_read_permits_nothing() {
        let logged = Mutex::default();
        let read = |version: &str, on_revoke: &str| {
            let object = json!({
                "metadata": { "name": "p", "resourceVersion": version },
                "spec": { "clusterName": "c2", "onRevoke": on_revoke },
            });
            policy(serde_json::from_value(object).unwrap(), &logged)
        };
        assert_eq!(read("1", "Later"), ("p".to_owned(), ImportPolicySpec::default()));
        assert_eq!(logged.lock().unwrap()["p"].as_deref(), Some("1"), "it is not logged again");
        assert_eq!(read("2", "Delete").1.cluster_name.as_deref(), Some("c2"));
        assert!(logged.lock().unwrap().is_empty());
    }

    const MISSING_PATH: &str = "404 page not found";

    /// A response of discovery.
    fn discovery(served: &[&str]) -> (u16, String) {
        let resource = |plural: &&str| json!({ "name": plural, "singularName": "", "namespaced": true, "kind": "K", "verbs": [] });
        let resources: Vec<Value> = served.iter().map(resource).collect();
        let list = json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": "multicluster.admiralty.io/v1alpha1", "resources": resources,
        });
        (200, list.to_string())
    }

    /// A client of a server that serves no list of policies, and this at the path of discovery.
    fn client((code, body): (u16, String)) -> Client {
        let server = service_fn(move |request: Request<Body>| {
            let is_list = request.uri().path().ends_with("/importpolicies");
            let (code, body) = if is_list { (404, MISSING_PATH.to_owned()) } else { (code, body.clone()) };
            let response = Response::builder().status(code).body(Body::from(body.into_bytes()));
            std::future::ready(Ok::<_, Infallible>(response.unwrap()))
        });
        Client::new(server, "default")
    }

    #[rstest]
    #[case::definition_is_not_installed(discovery(&["serviceaccountimports"]), true)]
    #[case::installed_meanwhile(discovery(&["serviceaccountimports", "importpolicies"]), false)]
    #[case::imports_are_not_served_either(discovery(&[]), false)]
    #[case::proxy((404, MISSING_PATH.to_owned()), false)]
    #[case::server_error((503, String::new()), false)]
    #[tokio::test]
    async fn only_discovery_proves_that_there_are_no_policies(
        #[case] discovered: (u16, String),
        #[case] expected: bool,
    ) {
        let client = client(discovered);
        let listed = Api::<ImportPolicy>::all(client.clone()).list(&Default::default()).await;
        let failed: watcher::Result<Event<()>> =
            Err(watcher::Error::InitialListFailed(listed.map(drop).unwrap_err()));
        let events = without_definition(&client, failed).await;
        let is_empty_list = matches!(events[..], [Ok(Event::Init), Ok(Event::InitDone)]);
        assert_eq!((is_empty_list, events.len()), (expected, if expected { 2 } else { 1 }));
    }
}
