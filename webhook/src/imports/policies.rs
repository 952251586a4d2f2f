//! A cache of all ImportPolicies, to warn users whose imports none of them permits. The importer enforces them.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use mcsa_client::policy::{ImportRequest, Permission, permission};
use mcsa_client::{ImportPolicy, ImportPolicySpec};
use mcsa_credentials::permission::not_permitted;
use mcsa_runtime::errors::{self, foreign};
use tokio::time::Instant;
use tracing::warn;

use super::{Imports, LOOKUP_TIMEOUT, PAGE_SIZE};
use crate::message;

/// The policies by name. Empty until [`Self::watch`] has listed them: there is no warning before.
#[derive(Default)]
pub(crate) struct Policies(RwLock<HashMap<String, ImportPolicySpec>>);

impl Policies {
    /// Keeps the cache up to date. Never fails: without policies, only warnings are missing.
    pub(crate) async fn watch(&self, client: Client) -> Infallible {
        let api: Api<DeserializeGuard<ImportPolicy>> = Api::all(client);
        let mut events = pin!(watcher(api, Config::default().page_size(PAGE_SIZE)).default_backoff());
        let (mut listed, mut last_problem) = (HashMap::new(), None);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed = HashMap::new(),
                Ok(Event::InitApply(policy)) => {
                    listed.insert(policy.name_any(), spec(&policy));
                }
                Ok(Event::InitDone) => {
                    last_problem = None;
                    self.change(|policies| *policies = std::mem::take(&mut listed));
                }
                Ok(Event::Apply(policy)) => self.change(|policies| {
                    policies.insert(policy.name_any(), spec(&policy));
                }),
                Ok(Event::Delete(policy)) => self.change(|policies| {
                    policies.remove(&policy.name_any());
                }),
                Err(error) => {
                    if is_not_served(&error) {
                        self.change(HashMap::clear);
                    }
                    let reason = errors::line(&error);
                    if last_problem.as_ref() != Some(&reason) {
                        warn!(
                            reason,
                            "can't watch ImportPolicies; no warnings of imports that they do not permit"
                        );
                        last_problem = Some(reason);
                    }
                }
            }
        }
        std::future::pending().await
    }

    /// Caches a policy, as the watch does.
    #[cfg(test)]
    pub(crate) fn apply(&self, policy: serde_json::Value) {
        let policy: DeserializeGuard<ImportPolicy> = serde_json::from_value(policy).unwrap();
        self.change(|policies| {
            policies.insert(policy.name_any(), spec(&policy));
        });
    }

    fn permission(
        &self,
        request: ImportRequest<'_>,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Permission {
        let policies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        permission(policies.values(), request, labels)
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<String, ImportPolicySpec>)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Imports {
    /// A warning if no policy permits an import. Without the labels of its namespace, there is none.
    pub(crate) async fn policy_warning(&self, request: ImportRequest<'_>) -> Option<String> {
        let mut permission = self.policies.permission(request, None);
        if permission == Permission::NamespaceUnknown {
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            let call = namespaces.get_metadata(request.namespace);
            let deadline = Instant::now() + LOOKUP_TIMEOUT;
            let namespace = self.calls.run(request.namespace, deadline, call).await.ok()?;
            permission = self.policies.permission(request, Some(namespace.labels()));
        }
        matches!(permission, Permission::NotPermitted(_)).then(|| message::one_line(&not_permitted(request)))
    }
}

/// Like the importer, takes an invalid policy as one for all sources that permits nothing.
fn spec(policy: &DeserializeGuard<ImportPolicy>) -> ImportPolicySpec {
    policy.0.as_ref().map(|policy| policy.spec.clone()).unwrap_or_default()
}

fn is_not_served(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error) => foreign::is_missing_path(error),
        _ => false,
    }
}
