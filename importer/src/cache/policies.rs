//! Import policies, and the labels of the namespaces that their selectors select by.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;
use mcsa_client::ImportPolicySpec;
use mcsa_client::policy::{Permission, permission};

use super::{Cache, State};
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::model::scope::Scope;

type Labels = BTreeMap<String, String>;

/// What the watches of policies and namespaces have observed. A list replaces all at once, so that no import is
/// permitted or refused because of half a list.
#[derive(Debug, Default)]
pub(super) struct Policies {
    is_listed: bool,
    by_name: BTreeMap<String, ImportPolicySpec>,
    listed: BTreeMap<String, ImportPolicySpec>,
    /// By namespace. Those that were not observed are unknown.
    labels: BTreeMap<String, Labels>,
    listed_labels: BTreeMap<String, Labels>,
}

impl Policies {
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed
    }

    fn permission(&self, import: &Import) -> Permission {
        if import.is_link {
            return Permission::Permitted;
        }
        if !self.is_listed {
            return Permission::NamespaceUnknown;
        }
        permission(self.by_name.values(), import.request(), self.labels.get(import.key.namespace()))
    }
}

impl Cache {
    /// Whether policies permit an import. Imports of links need no policy.
    pub fn permission(&self, import: &Import) -> Permission {
        self.state().policies.permission(import)
    }

    /// Whether a policy selects namespaces by their labels.
    pub fn needs_labels(&self) -> bool {
        self.state().policies.by_name.values().any(|policy| policy.namespace_selector.is_some())
    }

    /// Applies an event about policies; returns the imports whose permission changed.
    pub fn observe_policy(&self, event: Event<(String, ImportPolicySpec)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        match event {
            Event::Init => state.policies.listed.clear(),
            Event::InitApply((name, policy)) => drop(state.policies.listed.insert(name, policy)),
            Event::InitDone => {
                return state.change_policies(|policies| {
                    policies.is_listed = true;
                    policies.by_name = std::mem::take(&mut policies.listed);
                });
            }
            Event::Apply((name, policy)) => {
                return state.change_policies(|policies| drop(policies.by_name.insert(name, policy)));
            }
            Event::Delete((name, _)) => {
                return state.change_policies(|policies| drop(policies.by_name.remove(&name)));
            }
        }
        Vec::new()
    }

    /// Applies an event about the namespaces of a scope; returns the imports whose permission changed.
    pub fn observe_namespace(&self, scope: &Scope, event: Event<(String, Labels)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        match event {
            Event::Init => state.policies.listed_labels.retain(|name, _| !scope.has_namespace(name)),
            Event::InitApply((name, labels)) => drop(state.policies.listed_labels.insert(name, labels)),
            Event::InitDone => {
                return state.change_policies(|policies| {
                    policies.labels.retain(|name, _| !scope.has_namespace(name));
                    let listed = policies.listed_labels.extract_if(.., |name, _| scope.has_namespace(name));
                    policies.labels.extend(listed);
                });
            }
            Event::Apply((name, labels)) => {
                if state.policies.labels.get(&name) != Some(&labels) {
                    return state.change_policies(|policies| drop(policies.labels.insert(name, labels)));
                }
            }
            Event::Delete((name, _)) => drop(state.policies.labels.remove(&name)),
        }
        Vec::new()
    }

    /// Drops a Secret that the importer has deleted.
    pub fn forget_secret(&self, key: &ObjectKey) {
        self.state().secrets.remove(key);
    }

    /// Drops the labels of the namespaces of a scope, which are no longer observed.
    pub fn forget_namespaces(&self, scope: &Scope) {
        self.state().policies.labels.retain(|name, _| !scope.has_namespace(name));
    }
}

impl State {
    /// Changes policies or labels; returns the imports whose permission changed.
    fn change_policies(&mut self, change: impl FnOnce(&mut Policies)) -> Vec<ObjectKey> {
        let Self { imports, policies, .. } = self;
        let before: Vec<_> = imports.iter().map(|(_, known)| policies.permission(&known.import)).collect();
        change(policies);
        let imports = imports.iter().zip(before);
        let changed = imports.filter(|((_, known), before)| policies.permission(&known.import) != *before);
        changed.map(|((key, _), _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ObservedImport;
    use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
    use mcsa_client::policy::OnRevoke;
    use serde_json::{Value, json};

    const REFUSED: Permission = Permission::NotPermitted(OnRevoke::Retain);

    fn import(namespace: &str, labels: &Value) -> Import {
        let object = json!({
            "metadata": { "namespace": namespace, "name": "c2", "uid": namespace, "labels": labels },
            "spec": { "clusterName": "c2", "namespace": "default", "name": "pod-lister" },
        });
        Import::of(serde_json::from_value(object).unwrap())
    }

    /// A cache with an import in each of these namespaces, and that of a link.
    fn cache(namespaces: &[&str]) -> Cache {
        let cache = Cache::default();
        let ordinary = namespaces.iter().map(|namespace| import(namespace, &json!({})));
        for import in ordinary.chain([import(SYSTEM_NAMESPACE, &json!({ LINK_LABEL: "true" }))]) {
            let observed = ObservedImport::of(import.object());
            cache.observe_import(&Scope::All, Event::Apply((import.key, Ok(observed))));
        }
        cache
    }

    fn policy(spec: Value) -> (String, ImportPolicySpec) {
        ("policy".to_owned(), serde_json::from_value(spec).unwrap())
    }

    fn for_namespace(name: &str) -> Value {
        json!({ "clusterName": "c2", "namespaces": [name], "serviceAccounts": [{ "namespace": "*" }] })
    }

    fn list(cache: &Cache, policies: &[Value]) -> Vec<String> {
        cache.observe_policy(Event::Init);
        for (index, spec) in policies.iter().enumerate() {
            let (_, policy) = policy(spec.clone());
            assert!(cache.observe_policy(Event::InitApply((index.to_string(), policy))).is_empty());
        }
        names(&cache.observe_policy(Event::InitDone))
    }

    fn names(keys: &[ObjectKey]) -> Vec<String> {
        let mut names: Vec<_> = keys.iter().map(|key| key.namespace().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_permitted_before_the_policies_are_listed() {
        let cache = cache(&["a"]);
        let (ordinary, link) =
            (import("a", &json!({})), import(SYSTEM_NAMESPACE, &json!({ LINK_LABEL: "true" })));
        assert_eq!(cache.permission(&ordinary), Permission::NamespaceUnknown);
        assert_eq!(cache.permission(&link), Permission::Permitted);
        cache.observe_policy(Event::Init);
        cache.observe_policy(Event::InitApply(policy(for_namespace("a"))));
        assert_eq!(cache.permission(&ordinary), Permission::NamespaceUnknown, "half a list");
        assert_eq!(names(&cache.observe_policy(Event::InitDone)), ["a"]);
        assert_eq!(cache.permission(&ordinary), Permission::Permitted);
        cache.observe_policy(Event::Apply(policy(json!({}))));
        assert_eq!(cache.permission(&link), Permission::Permitted, "a link needs no policy");
    }

    #[test]
    fn imports_whose_permission_changes_are_enqueued() {
        let cache = cache(&["a", "b"]);
        assert_eq!(list(&cache, &[]), ["a", "b"], "there are no policies");
        assert_eq!(list(&cache, &[for_namespace("a")]), ["b"]);
        assert!(list(&cache, &[for_namespace("a")]).is_empty(), "listed again");
        assert_eq!(names(&cache.observe_policy(Event::Apply(policy(for_namespace("b"))))), ["b"]);
        assert_eq!(names(&cache.observe_policy(Event::Delete(policy(json!({}))))), ["b"]);
        // All policies are gone.
        assert_eq!(list(&cache, &[]), ["b"]);
        // Another action for imports that are not permitted.
        list(&cache, &[json!({})]);
        assert_eq!(list(&cache, &[json!({ "onRevoke": "Delete" })]), ["a", "b"]);
    }

    #[test]
    fn labels_of_namespaces_permit_imports() {
        let (cache, a) = (cache(&["a", "b"]), import("a", &json!({})));
        let selector = json!({ "namespaceSelector": { "matchLabels": { "team": "shop" } },
            "serviceAccounts": [{ "namespace": "*" }] });
        assert!(!cache.needs_labels());
        list(&cache, &[selector]);
        assert!(cache.needs_labels());
        assert_eq!(cache.permission(&a), Permission::NamespaceUnknown);

        let (ours, others) = (Labels::from([("team".into(), "shop".into())]), Labels::new());
        let observe = |event| names(&cache.observe_namespace(&Scope::All, event));
        observe(Event::Init);
        observe(Event::InitApply(("a".into(), ours.clone())));
        observe(Event::InitApply(("b".into(), others.clone())));
        assert_eq!(cache.permission(&a), Permission::NamespaceUnknown, "half a list");
        assert_eq!(observe(Event::InitDone), ["a", "b"]);
        assert_eq!(cache.permission(&a), Permission::Permitted);
        assert!(observe(Event::Apply(("a".into(), ours.clone()))).is_empty());
        assert_eq!(observe(Event::Apply(("a".into(), others.clone()))), ["a"]);
        assert_eq!(cache.permission(&a), REFUSED);

        // A confined importer watches each namespace by itself.
        let (of_a, of_b) = (Scope::Namespace("a".into()), Scope::Namespace("b".into()));
        cache.observe_namespace(&of_b, Event::Init);
        cache.observe_namespace(&of_a, Event::Init);
        cache.observe_namespace(&of_a, Event::InitApply(("a".into(), ours.clone())));
        cache.observe_namespace(&of_b, Event::InitApply(("b".into(), ours)));
        assert_eq!(names(&cache.observe_namespace(&of_a, Event::InitDone)), ["a"]);
        assert_eq!(names(&cache.observe_namespace(&of_b, Event::InitDone)), ["b"]);
        cache.forget_namespaces(&of_a);
        assert_eq!(cache.permission(&a), Permission::NamespaceUnknown);
        assert_eq!(cache.permission(&import("b", &json!({}))), Permission::Permitted);
    }
}
