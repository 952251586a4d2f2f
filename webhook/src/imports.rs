//! A cache of all imports.

mod calls;
mod launch;
mod policies;
mod record;
mod target_names;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::LABEL;
use mcsa_runtime::errors::{self, foreign};
use tokio::time::Instant;
use tracing::warn;

pub(crate) use self::calls::CallError;
use self::calls::{Calls, NO_CRD};
pub(crate) use self::launch::LaunchImport;
use self::launch::LaunchImports;
use self::policies::Policies;
pub(crate) use self::record::{Credential, Record};
use self::target_names::TargetNames;
use crate::argo::ArgoNamespaces;
use crate::readiness::{Part, Readiness};

/// Longest time of a review's lookups of imports that are not cached. The API server waits 5 s for the response, and
/// 3 s when ephemeral containers are added, which looks up nothing.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Imports per page of the list, which limits how many full objects are in memory.
const PAGE_SIZE: u32 = 50;

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Found(Record),
    NotFound,
    /// The import can't be parsed; the field and the reason.
    Invalid(String),
    /// The API server could not be asked.
    Failed(CallError),
}

pub(crate) struct Imports {
    client: Client,
    calls: Calls,
    records: RwLock<Records>,
    /// The namespaces whose pods may run without launch imports.
    pub argo: ArgoNamespaces,
    /// The policies that imports need.
    pub policies: Policies,
}

impl Imports {
    /// The cache is empty until [`Self::watch`] has listed the imports. Until then, each lookup asks the API server.
    pub(crate) fn new(client: Client, argo: ArgoNamespaces) -> Self {
        Self {
            client,
            calls: Calls::default(),
            records: RwLock::default(),
            argo,
            policies: Policies::default(),
        }
    }

    /// Keeps the cache up to date. Never returns without an error.
    pub(crate) async fn watch(&self, client: Client, readiness: &Readiness) -> anyhow::Result<Infallible> {
        let api: Api<DeserializeGuard<ServiceAccountImport>> = Api::all(client);
        let mut events = pin!(watcher(api, Config::default().page_size(PAGE_SIZE)).default_backoff());
        let mut listed = Records::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed = Records::default(),
                Ok(Event::InitApply(import)) => listed.apply(import),
                Ok(Event::InitDone) => {
                    self.change(|records| *records = std::mem::take(&mut listed));
                    readiness.set(Part::Imports, Ok(()));
                }
                Ok(Event::Apply(import)) => self.change(|records| records.apply(import)),
                Ok(Event::Delete(import)) => self.change(|records| records.delete(&import)),
                Err(error) => readiness.report_problem(Part::Imports, watch_problem(error)),
            }
        }
        anyhow::bail!("the watch of ServiceAccountImports ended")
    }

    /// Number of cached imports.
    pub(crate) fn count(&self) -> u64 {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(records.by_name.len()).unwrap_or(u64::MAX)
    }

    /// Looks up imports of a namespace, first in the cache. The results are in the order of `names`.
    pub(crate) async fn look_up<'a>(&self, namespace: &str, names: &[&'a str]) -> Vec<(&'a str, Lookup)> {
        let deadline = Instant::now() + LOOKUP_TIMEOUT;
        let lookups = names.iter().map(|&name| async move {
            match self.cached(namespace, name) {
                Some(record) => (name, Lookup::Found(record)),
                None => (name, self.get(namespace, name, deadline).await),
            }
        });
        join_all(lookups).await
    }

    /// The launch imports of a namespace, from the cache, which may lag.
    pub(crate) fn launch_imports(&self, namespace: &str) -> Vec<LaunchImport> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).launch.of_namespace(namespace)
    }

    /// The names of this cluster for pods of a namespace: those by which sources know it, in alphabetical order, and
    /// that of Argo's workflow controller.
    pub(crate) fn home_names(&self, namespace: &str) -> Vec<String> {
        let mut names = self.records.read().unwrap_or_else(PoisonError::into_inner).target_names.all();
        names.extend(self.argo.cluster_name(namespace));
        names
    }

    /// Asks the API server for the launch imports of a namespace.
    pub(crate) async fn list_launch_imports(&self, namespace: &str) -> Result<Vec<LaunchImport>, CallError> {
        let api: Api<DeserializeGuard<ServiceAccountImport>> =
            Api::namespaced(self.client.clone(), namespace);
        let selected = ListParams::default().labels(&format!("{LABEL}=true"));
        let deadline = Instant::now() + LOOKUP_TIMEOUT;
        let imports = self.calls.run(namespace, deadline, api.list(&selected)).await?;
        // The watch logs imports that can't be parsed.
        Ok(imports.iter().filter_map(|import| LaunchImport::of(import.0.as_ref().ok()?)).collect())
    }

    /// The record of an import, if it is cached.
    pub(crate) fn cached(&self, namespace: &str, name: &str) -> Option<Record> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).get(namespace, name)
    }

    /// Asks the API server. The watch may lag: import and pod are often applied together.
    async fn get(&self, namespace: &str, name: &str, deadline: Instant) -> Lookup {
        let kind = ApiResource::erase::<ServiceAccountImport>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let call = async {
            match api.get(name).await {
                Ok(import) => Ok(Some(import)),
                // Unlike `get_opt`, doesn't take a proxy's error page for a missing import.
                Err(kube::Error::Api(status))
                    if status.is_not_found() && foreign::of_status(&status).is_none() =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        match self.calls.run(namespace, deadline, call).await {
            Ok(Some(import)) => Record::parse(import).map_or_else(Lookup::Invalid, Lookup::Found),
            Ok(None) => Lookup::NotFound,
            Err(error) => Lookup::Failed(error),
        }
    }

    /// Caches an import, as the watch does.
    #[cfg(test)]
    pub(crate) fn apply(&self, import: serde_json::Value) {
        self.change(|records| records.apply(serde_json::from_value(import).unwrap()));
    }

    fn change(&self, change: impl FnOnce(&mut Records)) {
        change(&mut self.records.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Default)]
struct Records {
    /// By namespace and name. `None` stands for [`Record::with_defaults`], to save memory.
    by_name: HashMap<Box<str>, Option<Box<Record>>>,
    launch: LaunchImports,
    target_names: TargetNames,
}

impl Records {
    fn get(&self, namespace: &str, name: &str) -> Option<Record> {
        let record = self.by_name.get(&*key(namespace, name))?;
        Some(record.as_deref().cloned().unwrap_or_else(|| Record::with_defaults(name)))
    }

    fn apply(&mut self, import: DeserializeGuard<ServiceAccountImport>) {
        self.set_launch(&import, import.0.as_ref().ok().and_then(LaunchImport::of));
        match &import.0 {
            Ok(valid) => {
                self.target_names.apply(valid);
                let record = Record::of(valid);
                let is_default = record == Record::with_defaults(&valid.name_any());
                self.by_name.insert(key_of(valid), (!is_default).then(|| Box::new(record)));
            }
            Err(error) => {
                let import_name = key_of(&import);
                warn!(import = import_name, %error, "can't parse ServiceAccountImport; pods that reference it are denied");
                self.by_name.remove(&import_name);
                self.target_names.delete(&import);
            }
        }
    }

    fn delete(&mut self, import: &DeserializeGuard<ServiceAccountImport>) {
        self.set_launch(import, None);
        self.target_names.delete(import);
        self.by_name.remove(&key_of(import));
    }

    fn set_launch(&mut self, import: &impl ResourceExt, launch: Option<LaunchImport>) {
        self.launch.set(&import.namespace().unwrap_or_default(), &import.name_any(), launch);
    }
}

fn watch_problem(error: watcher::Error) -> String {
    match &error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_not_found() => {
            NO_CRD.to_owned()
        }
        _ => format!("can't watch ServiceAccountImports: {}", errors::line(&error)),
    }
}

/// Unambiguous: neither a namespace nor a name contains a slash.
fn key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into()
}

fn key_of(import: &impl ResourceExt) -> Box<str> {
    key(&import.namespace().unwrap_or_default(), &import.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use serde_json::{Value, json};
    use tower::service_fn;

    fn import(name: &str, cluster: Value) -> DeserializeGuard<ServiceAccountImport> {
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2024-01-01T00:00:00Z",
        });
        let import = json!({
            "apiVersion": "multicluster.admiralty.io/v1alpha1",
            "kind": "ServiceAccountImport",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "clusterName": cluster, "namespace": "default", "name": "pod-lister" },
            "status": { "secrets": [{ "name": format!("{name}-token") }], "conditions": [ready] },
        });
        serde_json::from_value(import).unwrap()
    }

    #[test]
    fn invalid_import_does_not_affect_others() {
        let mut records = Records::default();
        records.apply(import("a", "c2".into()));
        records.apply(import("b", 7.into()));
        assert_eq!(records.by_name.keys().map(|key| &**key).collect::<Vec<_>>(), ["default/a"]);
        records.delete(&import("a", "c2".into()));
        assert!(records.by_name.is_empty());
    }

    #[test]
    fn launch_imports_follow_the_label() {
        let mut records = Records::default();
        let labelled = |cluster: Value| {
            let mut import = import("a", cluster);
            if let Ok(import) = &mut import.0 {
                import.labels_mut().insert(LABEL.into(), "true".into());
            }
            import
        };
        let permitted = LaunchImport { cluster: "c2".into(), namespace: "default".into() };
        for (next, expected) in [
            (labelled("c2".into()), vec![permitted.clone()]),
            (import("a", "c2".into()), vec![]),
            (labelled("c2".into()), vec![permitted.clone()]),
            (labelled(7.into()), vec![]),
            (labelled("c2".into()), vec![permitted]),
        ] {
            records.apply(next);
            assert_eq!(records.launch.of_namespace("default"), expected);
        }
        records.delete(&labelled("c2".into()));
        assert_eq!(records.launch.of_namespace("default"), []);
    }

    #[test]
    fn default_records_are_stored_as_none() {
        let mut records = Records::default();
        let default = import("a", "c2".into());
        let mut other = import("b", "c2".into());
        other.0.as_mut().unwrap().status = None;
        let expected = [&default, &other].map(|import| Record::of(import.0.as_ref().unwrap()));
        assert_eq!(expected[0], Record::with_defaults("a"));
        records.apply(default);
        records.apply(other);
        assert!(records.by_name["default/a"].is_none() && records.by_name["default/b"].is_some());
        let found = ["a", "b"].map(|name| records.get("default", name).unwrap());
        assert_eq!(found, expected);
        assert_eq!(records.get("default", "c"), None);
    }

    /// Otherwise, a pod that names many imports that don't exist would block other namespaces.
    #[tokio::test(start_paused = true)]
    async fn namespace_is_answered_while_the_lookups_of_another_hang() {
        let service = service_fn(|request: http::Request<kube::client::Body>| async move {
            if request.uri().path().contains("/namespaces/hanging/") {
                std::future::pending::<()>().await;
            }
            let status =
                json!({ "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found" });
            let body = kube::client::Body::from(serde_json::to_vec(&status).unwrap());
            http::Response::builder().status(404).body(body)
        });
        let imports = Imports::new(Client::new(service, "default"), ArgoNamespaces::default());
        let names: Vec<_> = (0..64).map(|i| format!("absent-{i}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut hanging = Box::pin(imports.look_up("hanging", &names));
        assert!((&mut hanging).now_or_never().is_none());
        assert_eq!(imports.look_up("other", &["a"]).await, [("a", Lookup::NotFound)]);
        let lookups = hanging.await;
        assert!(lookups.iter().all(|(_, lookup)| matches!(lookup, Lookup::Failed(_))), "{lookups:?}");
    }
}
