//! What is known of each import: a small record, kept by a watch over all of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::api::{ItemValue, READY, REFRESHED, SecretItem};
use mcsa_client::{ServiceAccountImport, contract};
use mcsa_runtime::errors;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::ready::{Part, Readiness};

/// How long one review may ask the API server for what the cache does not have. The API server
/// waits 5 s for our answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// How many imports are asked for at a time, by whichever reviews. Each takes a connection.
const CALLS: usize = 16;

/// How many imports a page of the list has: what is in memory before it becomes a record.
const PAGE: u32 = 100;

/// The longest text of a record: an import's message may have 32 KiB, a warning 256 characters.
const TEXT: usize = 120;

/// What a pod needs to know of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The Secret that holds the credential, or will.
    pub secret: String,
    /// Whether the Secret holds a credential.
    pub credential: Credential,
    /// The key of the Secret that is a kubeconfig for use from the mount, if one is.
    pub kubeconfig: Option<Cow<'static, str>>,
}

/// Whether an import's Secret holds a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// It does.
    Present,
    /// It does not yet, and this is what the importer says about it, if anything.
    Absent(Option<String>),
}

/// What became of the search for an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There it is.
    Import(Record),
    /// There is none.
    Nothing,
    /// The API server could not be asked, for this reason.
    Unknown(String),
}

/// What is known of all imports.
pub struct Imports {
    client: Client,
    calls: Semaphore,
    records: RwLock<Records>,
}

impl Imports {
    /// Nothing is known before [`Self::watch`] runs: each import is asked for.
    pub fn new(client: Client) -> Self {
        Self { client, calls: Semaphore::new(CALLS), records: RwLock::default() }
    }

    /// Keeps the records, for ever.
    ///
    /// # Errors
    /// When the watch ends, which it never does by itself.
    pub async fn watch(&self, readiness: &Readiness) -> anyhow::Result<Infallible> {
        let api: Api<DeserializeGuard<ServiceAccountImport>> = Api::all(self.client.clone());
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
    pub fn count(&self) -> u64 {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(records.0.len()).unwrap_or(u64::MAX)
    }

    /// Looks for imports of this namespace, in the cache first. The answers are in the order of
    /// the names.
    pub async fn find<'a>(&self, namespace: &str, names: &[&'a str]) -> Vec<(&'a str, Found)> {
        let deadline = Instant::now() + DEADLINE;
        let searches: Vec<_> = names.iter().map(|&name| self.search(namespace, name, deadline)).collect();
        stream::iter(searches).buffered(CALLS).collect().await
    }

    async fn search<'a>(&self, namespace: &str, name: &'a str, deadline: Instant) -> (&'a str, Found) {
        match self.cached(namespace, name) {
            Some(record) => (name, Found::Import(record)),
            None => (name, self.ask(namespace, name, deadline).await),
        }
    }

    fn cached(&self, namespace: &str, name: &str) -> Option<Record> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        records.0.get(&key(namespace, name)).cloned()
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

#[derive(Default)]
struct Records(HashMap<String, Record>);

impl Records {
    fn apply(&mut self, import: DeserializeGuard<ServiceAccountImport>) {
        match &import.0 {
            Ok(valid) => {
                self.0.insert(key_of(valid), Record::of(valid));
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
fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn key_of(import: &impl ResourceExt) -> String {
    key(&import.namespace().unwrap_or_default(), &import.name_any())
}

impl Record {
    fn of(import: &ServiceAccountImport) -> Self {
        let is_true = |type_| import.condition(type_).is_some_and(|condition| condition.status == "True");
        let named = import.status.as_ref().is_some_and(|status| !status.secrets.is_empty());
        let credential = if named && is_true(READY) {
            Credential::Present
        } else {
            // Why the last try failed says more than that there is nothing.
            let untrue = [REFRESHED, READY]
                .into_iter()
                .find(|&type_| !is_true(type_) && reason(import, type_).is_some());
            Credential::Absent(untrue.and_then(|type_| reason(import, type_)))
        };
        let items = import.spec.secret.as_ref().map(|secret| secret.items.as_slice()).unwrap_or_default();
        Self { secret: import.secret_name(), credential, kubeconfig: kubeconfig(items) }
    }
}

/// The key under which these items have a kubeconfig. One that names the files beside it sees each
/// refresh, and is of use only where they have the names that it knows.
fn kubeconfig(items: &[SecretItem]) -> Option<Cow<'static, str>> {
    if items.is_empty() {
        return Some(contract::key::CONFIG.into());
    }
    let has = |key: &str, value| items.iter().any(|item| item.key == key && item.value == value);
    let beside = has(contract::key::TOKEN, ItemValue::Token) && has(contract::key::CA, ItemValue::CABundle);
    let key_of = |value| items.iter().find(|item| item.value == value).map(|item| item.key.clone().into());
    let of_files = if beside { key_of(ItemValue::KubeconfigFiles) } else { None };
    of_files.or_else(|| key_of(ItemValue::Kubeconfig))
}

fn reason(import: &ServiceAccountImport, type_: &str) -> Option<String> {
    let condition = import.condition(type_)?;
    let text = format!("{}: {}", condition.reason, condition.message);
    // The API server drops a warning that has a line break.
    let text = text.split(|c: char| c.is_control() || c.is_whitespace()).collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(TEXT).collect();
    Some(if short.len() < text.len() { format!("{short}...") } else { short })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn import(status: Value) -> Value {
        json!({
            "apiVersion": "multicluster.admiralty.io/v1alpha1",
            "kind": "ServiceAccountImport",
            "metadata": { "name": "a", "namespace": "default" },
            "spec": { "clusterName": "c2", "namespace": "default", "name": "pod-lister" },
            "status": status,
        })
    }

    fn condition(type_: &str, status: &str, message: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": "Because", "message": message,
            "lastTransitionTime": "2024-01-01T00:00:00Z",
        })
    }

    #[rstest]
    #[case(json!({}), Credential::Absent(None))]
    #[case(json!({ "secrets": [{ "name": "a-token" }] }), Credential::Absent(None))]
    #[case(json!({ "conditions": [condition("Ready", "True", "")] }), Credential::Absent(None))]
    #[case(
        json!({ "secrets": [{ "name": "a-token" }], "conditions": [condition("Ready", "True", "")] }),
        Credential::Present
    )]
    #[case(
        json!({
            "secrets": [{ "name": "a-token" }],
            "conditions": [condition("Ready", "True", ""), condition("Refreshed", "False", "late")],
        }),
        Credential::Present
    )]
    #[case(
        json!({ "conditions": [condition("Ready", "False", "empty"), condition("Refreshed", "False", "no\nlink")] }),
        Credential::Absent(Some("Because: no link".into()))
    )]
    #[case(
        json!({
            "secrets": [{ "name": "a-token" }],
            "conditions": [condition("Refreshed", "True", ""), condition("Ready", "False", "expired")],
        }),
        Credential::Absent(Some("Because: expired".into()))
    )]
    fn records(#[case] status: Value, #[case] credential: Credential) {
        let import = serde_json::from_value(import(status)).unwrap();
        let kubeconfig = Some("config".into());
        assert_eq!(Record::of(&import), Record { secret: "a-token".into(), credential, kubeconfig });
    }

    #[rstest]
    #[case::usual(json!([]), Some("config"))]
    #[case::files(
        json!([["token", "Token"], ["ca.crt", "CABundle"], ["all", "Kubeconfig"], ["c", "KubeconfigFiles"]]),
        Some("c")
    )]
    #[case::without_the_token(json!([["ca.crt", "CABundle"], ["c", "KubeconfigFiles"]]), None)]
    #[case::token_of_another_name(
        json!([["t", "Token"], ["ca.crt", "CABundle"], ["c", "KubeconfigFiles"], ["all", "Kubeconfig"]]),
        Some("all")
    )]
    #[case::something_else_named_token(
        json!([["token", "Server"], ["ca.crt", "CABundle"], ["c", "KubeconfigFiles"]]),
        None
    )]
    #[case::without_the_ca(json!([["token", "Token"], ["c", "KubeconfigFiles"]]), None)]
    #[case::something_else_named_config(json!([["config", "ArgoCDConfig"]]), None)]
    fn kubeconfigs(#[case] items: Value, #[case] expected: Option<&str>) {
        let item = |item: &Value| json!({ "key": item[0], "value": item[1] });
        let mut import = import(json!({}));
        import["spec"]["secret"] =
            json!({ "items": items.as_array().unwrap().iter().map(item).collect::<Vec<_>>() });
        assert_eq!(Record::of(&serde_json::from_value(import).unwrap()).kubeconfig.as_deref(), expected);
    }

    #[test]
    fn a_record_is_short() {
        let status = json!({ "conditions": [condition("Ready", "False", &"ä".repeat(32_000))] });
        let Credential::Absent(Some(text)) =
            Record::of(&serde_json::from_value(import(status)).unwrap()).credential
        else {
            panic!("no reason");
        };
        assert!(text.chars().count() < 130, "{text}");
    }

    #[test]
    fn one_bad_import_leaves_the_others() {
        let mut records = Records::default();
        records.apply(serde_json::from_value(import(json!({}))).unwrap());
        let mut bad = import(json!({}));
        bad["metadata"]["name"] = "b".into();
        bad["spec"]["clusterName"] = 7.into();
        records.apply(serde_json::from_value(bad).unwrap());
        assert_eq!(records.0.keys().collect::<Vec<_>>(), ["default/a"]);
        records.delete(&serde_json::from_value(import(json!({}))).unwrap());
        assert!(records.0.is_empty());
    }
}
