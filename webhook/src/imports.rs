//! What is known of all imports, kept by a watch over them.

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
use crate::ready::{Part, Readiness};

/// How long one review may ask the API server for what the cache does not have. The API server
/// waits 5 s for our answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// How many imports are asked for at a time, by whichever reviews. Each takes a connection.
const CALLS: usize = 16;

/// How many imports a page of the list has: what is in memory before it becomes a record.
const PAGE: u32 = 50;

/// What became of the search for an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There it is.
    Import(Record),
    /// There is none.
    Nothing,
    /// The API server could not be asked, for this reason.
    Unknown(String),
}

/// What is known of all imports.
pub(crate) struct Imports {
    client: Client,
    calls: Semaphore,
    records: RwLock<Records>,
}

impl Imports {
    /// Nothing is known before [`Self::watch`] runs: each import is asked for.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, calls: Semaphore::new(CALLS), records: RwLock::default() }
    }

    /// Keeps the records, for ever.
    ///
    /// # Errors
    /// When the watch ends, which it never does by itself.
    pub(crate) async fn watch(&self, client: Client, readiness: &Readiness) -> anyhow::Result<Infallible> {
        let api: Api<DeserializeGuard<ServiceAccountImport>> = Api::all(client);
        let mut events = pin!(watcher(api, Config::default().page_size(PAGE)).default_backoff());
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
                Err(error) => readiness.explain(Part::Imports, trouble(error)),
            }
        }
        anyhow::bail!("the watch of ServiceAccountImports ended")
    }

    /// How many are known.
    pub(crate) fn count(&self) -> u64 {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(records.0.len()).unwrap_or(u64::MAX)
    }

    /// Looks for imports of this namespace, in the cache first. The answers are in the order of
    /// the names.
    pub(crate) async fn find<'a>(&self, namespace: &str, names: &[&'a str]) -> Vec<(&'a str, Found)> {
        let deadline = Instant::now() + DEADLINE;
        let searches = names.iter().map(|&name| async move {
            match self.cached(namespace, name) {
                Some(record) => (name, Found::Import(record)),
                None => (name, self.ask(namespace, name, deadline).await),
            }
        });
        join_all(searches).await
    }

    fn cached(&self, namespace: &str, name: &str) -> Option<Record> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).get(namespace, name)
    }

    // The watch may be a moment behind: import and pod are often applied together.
    async fn ask(&self, namespace: &str, name: &str, deadline: Instant) -> Found {
        let api: Api<ServiceAccountImport> = Api::namespaced(self.client.clone(), namespace);
        let call = async {
            // Never closed.
            let _turn = self.calls.acquire().await.ok();
            api.get_opt(name).await
        };
        match timeout_at(deadline, call).await {
            Ok(Ok(Some(import))) => Found::Import(Record::of(&import)),
            Ok(Ok(None)) => Found::Nothing,
            Ok(Err(error)) => Found::Unknown(errors::line(&error)),
            Err(_) => Found::Unknown("the API server did not answer in time".to_owned()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Records)) {
        change(&mut self.records.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The records, but for those that are as usual: of most imports, the name is all that is kept.
#[derive(Default)]
struct Records(HashMap<Box<str>, Option<Box<Record>>>);

impl Records {
    fn get(&self, namespace: &str, name: &str) -> Option<Record> {
        let record = self.0.get(&*key(namespace, name))?;
        Some(record.as_deref().cloned().unwrap_or_else(|| Record::usual(name)))
    }

    fn apply(&mut self, import: DeserializeGuard<ServiceAccountImport>) {
        match &import.0 {
            Ok(valid) => {
                let record = Record::of(valid);
                let is_usual = record == Record::usual(&valid.name_any());
                self.0.insert(key_of(valid), (!is_usual).then(|| Box::new(record)));
            }
            Err(error) => {
                let import_name = key_of(&import);
                warn!(import = import_name, %error, "can't read a ServiceAccountImport; no pod can name it");
                self.0.remove(&import_name);
            }
        }
    }

    fn delete(&mut self, import: &DeserializeGuard<ServiceAccountImport>) {
        self.0.remove(&key_of(import));
    }
}

fn trouble(error: watcher::Error) -> String {
    match &error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_not_found() => {
            "this cluster has no ServiceAccountImports: run kubemcsa install, or kubectl apply -k manifests"
                .to_owned()
        }
        _ => format!("can't watch ServiceAccountImports: {}", errors::line(&error)),
    }
}

/// Neither a namespace nor a name has a slash.
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
    fn one_bad_import_leaves_the_others() {
        let mut records = Records::default();
        records.apply(import("a", "c2".into()));
        records.apply(import("b", 7.into()));
        assert_eq!(records.0.keys().map(|key| &**key).collect::<Vec<_>>(), ["default/a"]);
        records.delete(&import("a", "c2".into()));
        assert!(records.0.is_empty());
    }

    #[test]
    fn what_is_usual_takes_no_memory_and_all_else_is_kept() {
        let mut records = Records::default();
        let usual = import("a", "c2".into());
        let mut other = import("b", "c2".into());
        other.0.as_mut().unwrap().status = None;
        let expected = [&usual, &other].map(|import| Record::of(import.0.as_ref().unwrap()));
        assert_eq!(expected[0], Record::usual("a"));
        records.apply(usual);
        records.apply(other);
        assert!(records.0["default/a"].is_none() && records.0["default/b"].is_some());
        let found = ["a", "b"].map(|name| records.get("default", name).unwrap());
        assert_eq!(found, expected);
        assert_eq!(records.get("default", "c"), None);
    }
}
