//! A cache of all imports.

mod record;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_runtime::errors;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

pub(crate) use self::record::{Credential, Record};
use crate::readiness::{Part, Readiness};

/// Longest time of a review's lookups of imports that are not cached. The API server waits 5 s for the response.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Concurrent lookups of all reviews. Each uses a connection.
const MAX_LOOKUPS: usize = 16;

/// Imports per page of the list, which limits how many full objects are in memory.
const PAGE_SIZE: u32 = 50;

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Found(Record),
    NotFound,
    /// The API server could not be asked; the reason.
    Failed(String),
}

pub(crate) struct Imports {
    client: Client,
    lookups: Semaphore,
    records: RwLock<Records>,
}

impl Imports {
    /// The cache is empty until [`Self::watch`] has listed the imports. Until then, each lookup asks the API server.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, lookups: Semaphore::new(MAX_LOOKUPS), records: RwLock::default() }
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
        u64::try_from(records.0.len()).unwrap_or(u64::MAX)
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

    fn cached(&self, namespace: &str, name: &str) -> Option<Record> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).get(namespace, name)
    }

    /// Asks the API server. The watch may lag: import and pod are often applied together.
    async fn get(&self, namespace: &str, name: &str, deadline: Instant) -> Lookup {
        let api: Api<ServiceAccountImport> = Api::namespaced(self.client.clone(), namespace);
        let call = async {
            // Never fails: the semaphore is never closed.
            let _permit = self.lookups.acquire().await.ok();
            api.get_opt(name).await
        };
        match timeout_at(deadline, call).await {
            Ok(Ok(Some(import))) => Lookup::Found(Record::of(&import)),
            Ok(Ok(None)) => Lookup::NotFound,
            Ok(Err(error)) => Lookup::Failed(errors::line(&error)),
            Err(_) => Lookup::Failed("the API server did not respond in time".to_owned()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Records)) {
        change(&mut self.records.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Records by namespace and name. `None` stands for [`Record::with_defaults`], to save memory.
#[derive(Default)]
struct Records(HashMap<Box<str>, Option<Box<Record>>>);

impl Records {
    fn get(&self, namespace: &str, name: &str) -> Option<Record> {
        let record = self.0.get(&*key(namespace, name))?;
        Some(record.as_deref().cloned().unwrap_or_else(|| Record::with_defaults(name)))
    }

    fn apply(&mut self, import: DeserializeGuard<ServiceAccountImport>) {
        match &import.0 {
            Ok(valid) => {
                let record = Record::of(valid);
                let is_default = record == Record::with_defaults(&valid.name_any());
                self.0.insert(key_of(valid), (!is_default).then(|| Box::new(record)));
            }
            Err(error) => {
                let import_name = key_of(&import);
                warn!(import = import_name, %error, "can't parse ServiceAccountImport; pods that reference it are denied");
                self.0.remove(&import_name);
            }
        }
    }

    fn delete(&mut self, import: &DeserializeGuard<ServiceAccountImport>) {
        self.0.remove(&key_of(import));
    }
}

fn watch_problem(error: watcher::Error) -> String {
    match &error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_not_found() => {
            "the ServiceAccountImport CRD is not installed: run kubemcsa install, or kubectl apply -k manifests"
                .to_owned()
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
    use serde_json::{Value, json};

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
        assert_eq!(records.0.keys().map(|key| &**key).collect::<Vec<_>>(), ["default/a"]);
        records.delete(&import("a", "c2".into()));
        assert!(records.0.is_empty());
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
        assert!(records.0["default/a"].is_none() && records.0["default/b"].is_some());
        let found = ["a", "b"].map(|name| records.get("default", name).unwrap());
        assert_eq!(found, expected);
        assert_eq!(records.get("default", "c"), None);
    }
}
