//! What the watches have seen, in the form that a reconciliation needs.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;
use mcsa_client::ServiceAccountImport;
use mcsa_client::secret::SecretState;

use crate::source::Source;

/// How many deleted Secrets are remembered: more than there can be writes on the way.
const DELETED: usize = 1024;

/// Namespace and name of an import or a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A link as its Secret was last seen: the source that it leads to, or why it leads nowhere.
#[derive(Clone, Debug)]
pub struct LinkEntry {
    /// The source's name.
    pub cluster_name: String,
    /// The source, or what is wrong with the Secret.
    pub source: Result<Arc<Source>, String>,
}

/// Imports, the metadata of their Secrets, and links.
#[derive(Debug, Default)]
pub struct Cache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    imports: Mirror<ObjectKey, Arc<ServiceAccountImport>>,
    secrets: Mirror<ObjectKey, SecretState>,
    /// By name of the link's Secret.
    links: Mirror<String, LinkEntry>,
    /// The imports that want a Secret of this name.
    by_secret: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// UIDs of the Secrets that were deleted last: the answer to our own write may come later.
    deleted: VecDeque<String>,
}

impl Cache {
    /// Whether each watch has told all that there is.
    pub fn is_synced(&self) -> bool {
        let state = self.state();
        state.imports.synced && state.secrets.synced && state.links.synced
    }

    /// The import, if it is still there.
    pub fn import(&self, key: &ObjectKey) -> Option<Arc<ServiceAccountImport>> {
        self.state().imports.objects.get(key).cloned()
    }

    /// The Secret of this name, as far as it bears our label.
    pub fn secret(&self, key: &ObjectKey) -> Option<SecretState> {
        self.state().secrets.objects.get(key).cloned()
    }

    /// The link to a source. Where there are several, that of the first Secret by name.
    pub fn link(&self, cluster_name: &str) -> Option<LinkEntry> {
        let state = self.state();
        let named = state.links.objects.iter().filter(|(_, link)| link.cluster_name == cluster_name);
        named.min_by_key(|(secret, _)| *secret).map(|(_, link)| link.clone())
    }

    /// Keeps what the importer itself just wrote, unless the watch was faster and knows better.
    pub fn wrote_secret(&self, key: ObjectKey, secret: SecretState) {
        let mut state = self.state();
        if state.deleted.contains(&secret.uid) {
            return;
        }
        let written = secret.as_written();
        let newest = match state.secrets.objects.get(&key) {
            Some(known) if written.is_older_than(known) => known.clone().after(&written),
            _ => written,
        };
        state.secrets.set(key, newest);
    }

    /// Keeps the status that the importer itself just wrote. Only that: whatever else the answer
    /// says, the watch may have told newer, or is still to tell.
    pub fn wrote_status(&self, key: &ObjectKey, written: ServiceAccountImport) {
        if let Some(known) = self.state().imports.objects.get_mut(key)
            && known.metadata.uid == written.metadata.uid
        {
            Arc::make_mut(known).status = written.status;
        }
    }

    /// Follows the watch of imports; returns those whose wish may have changed.
    pub fn see_import(&self, event: Event<(ObjectKey, Option<ServiceAccountImport>)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        match event {
            Event::Apply((key, Some(import))) | Event::InitApply((key, Some(import))) => {
                let changed = state.set_import(key.clone(), import);
                if changed { vec![key] } else { Vec::new() }
            }
            Event::Delete((key, _)) | Event::Apply((key, None)) | Event::InitApply((key, None)) => {
                let gone = state.imports.objects.remove_entry(&key);
                state.forget_wishes(gone)
            }
            Event::Init => {
                state.imports.begin();
                Vec::new()
            }
            Event::InitDone => {
                let gone = state.imports.end();
                state.forget_wishes(gone)
            }
        }
    }

    /// Follows the watch of Secrets' metadata; returns the imports that want a changed one.
    pub fn see_secret(&self, event: Event<(ObjectKey, SecretState)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        let changed = match event {
            Event::Apply((key, secret)) | Event::InitApply((key, secret)) => {
                if state.set_secret(key.clone(), secret) { vec![key] } else { Vec::new() }
            }
            Event::Delete((key, gone)) => {
                // One that was made again meanwhile, by ourselves, is another one.
                let known = state.secrets.objects.get(&key).is_some_and(|known| known.uid == gone.uid);
                state.note_deleted(gone.uid);
                if known {
                    state.secrets.objects.remove(&key);
                    vec![key]
                } else {
                    Vec::new()
                }
            }
            Event::Init => {
                state.secrets.begin();
                Vec::new()
            }
            Event::InitDone => state.secrets.end().into_iter().map(|(key, _)| key).collect(),
        };
        changed.iter().flat_map(|key| state.by_secret.get(key).into_iter().flatten().cloned()).collect()
    }

    /// Follows the watch of links; returns the imports of each source whose link changed.
    pub fn see_link(&self, event: Event<(String, LinkEntry)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        let links = &mut state.links;
        let touched: Vec<LinkEntry> = match event {
            Event::Apply((name, link)) | Event::InitApply((name, link)) => {
                let before = links.set(name, link.clone());
                before.into_iter().chain([link]).collect()
            }
            Event::Delete((name, _)) => links.objects.remove(&name).into_iter().collect(),
            Event::Init => {
                links.begin();
                Vec::new()
            }
            Event::InitDone => links.end().into_iter().map(|(_, link)| link).collect(),
        };
        let clusters: BTreeSet<String> = touched.into_iter().map(|link| link.cluster_name).collect();
        let of_cluster = |import: &ServiceAccountImport| clusters.contains(import.spec.cluster_name.as_str());
        state
            .imports
            .objects
            .iter()
            .filter(|(_, import)| of_cluster(import))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the import wants something else than before: its status and the like don't count.
    fn set_import(&mut self, key: ObjectKey, import: ServiceAccountImport) -> bool {
        let wish = |import: &ServiceAccountImport| {
            (import.metadata.uid.clone(), import.metadata.generation, import.is_link())
        };
        let new = wish(&import);
        self.by_secret.entry(secret_key(&key, &import)).or_default().insert(key.clone());
        self.imports.set(key, Arc::new(import)).is_none_or(|old| wish(&old) != new)
    }

    /// Forgets which Secrets the imports wanted that are gone; returns their keys.
    fn forget_wishes(
        &mut self,
        gone: impl IntoIterator<Item = (ObjectKey, Arc<ServiceAccountImport>)>,
    ) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        for (key, import) in gone {
            let secret = secret_key(&key, &import);
            if let Some(imports) = self.by_secret.get_mut(&secret) {
                imports.remove(&key);
                if imports.is_empty() {
                    self.by_secret.remove(&secret);
                }
            }
            keys.push(key);
        }
        keys
    }

    fn note_deleted(&mut self, uid: String) {
        self.deleted.push_back(uid);
        if self.deleted.len() > DELETED {
            self.deleted.pop_front();
        }
    }

    fn set_secret(&mut self, key: ObjectKey, secret: SecretState) -> bool {
        let secret = match self.secrets.objects.get(&key) {
            None => secret,
            Some(known) if secret.is_older_than(known) => {
                self.secrets.keep(&key);
                return false;
            }
            Some(known) => secret.after(known),
        };
        let before = self.secrets.set(key, secret.clone());
        before.is_none_or(|before| before != secret)
    }
}

/// The key of the Secret that an import wants.
pub fn secret_key(key: &ObjectKey, import: &ServiceAccountImport) -> ObjectKey {
    ObjectKey { namespace: key.namespace.clone(), name: import.secret_name() }
}

/// The objects of one watch. During a relist, what is not listed again is forgotten at its end.
#[derive(Debug)]
struct Mirror<K, V> {
    objects: HashMap<K, V>,
    unlisted: HashSet<K>,
    synced: bool,
}

impl<K, V> Default for Mirror<K, V> {
    fn default() -> Self {
        Self { objects: HashMap::new(), unlisted: HashSet::new(), synced: false }
    }
}

impl<K: Clone + Eq + Hash, V> Mirror<K, V> {
    fn begin(&mut self) {
        self.unlisted = self.objects.keys().cloned().collect();
    }

    fn set(&mut self, key: K, value: V) -> Option<V> {
        self.keep(&key);
        self.objects.insert(key, value)
    }

    fn keep(&mut self, key: &K) {
        self.unlisted.remove(key);
    }

    /// Forgets what was not listed, and says what that was.
    fn end(&mut self) -> Vec<(K, V)> {
        self.synced = true;
        std::mem::take(&mut self.unlisted)
            .into_iter()
            .filter_map(|key| self.objects.remove_entry(&key))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ServiceAccountImportStatus;
    use mcsa_client::contract::FIELD_MANAGER;
    use serde_json::json;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "default".into(), name: name.into() }
    }

    fn import(generation: i64, cluster: &str) -> ServiceAccountImport {
        let import = json!({
            "metadata": { "namespace": "default", "name": "a", "uid": "u", "generation": generation },
            "spec": { "clusterName": cluster, "namespace": "default", "name": "pod-lister" },
        });
        serde_json::from_value(import).unwrap()
    }

    fn secret(uid: &str, version: u64, others: &[&str]) -> SecretState {
        let entry =
            |manager: &str| json!({ "manager": manager, "fieldsV1": { "f:data": { "f:token": {} } } });
        let entries: Vec<_> = [FIELD_MANAGER].iter().chain(others).map(|manager| entry(manager)).collect();
        let metadata =
            json!({ "uid": uid, "resourceVersion": version.to_string(), "managedFields": entries });
        SecretState::read(&serde_json::from_value(metadata).unwrap())
    }

    fn apply(cache: &Cache, import: ServiceAccountImport) -> Vec<ObjectKey> {
        cache.see_import(Event::Apply((key("a"), Some(import))))
    }

    #[test]
    fn a_spec_that_changes_while_the_status_is_written_is_not_lost() {
        let written = |generation, cluster| {
            let status =
                Some(ServiceAccountImportStatus { observed_generation: Some(1), ..Default::default() });
            ServiceAccountImport { status, ..import(generation, cluster) }
        };
        // The answer knows the new spec before the watch does: the watch still has to tell.
        let cache = Cache::default();
        apply(&cache, import(1, "c2"));
        cache.wrote_status(&key("a"), written(2, "c3"));
        assert_eq!(apply(&cache, import(2, "c3")), [key("a")]);
        // The watch knew it before the late answer to a write about the old one.
        let cache = Cache::default();
        apply(&cache, import(2, "c3"));
        cache.wrote_status(&key("a"), written(1, "c2"));
        let known = cache.import(&key("a")).unwrap();
        assert_eq!((known.spec.cluster_name.as_str(), known.status.is_some()), ("c3", true));
    }

    #[test]
    fn an_edit_that_the_watch_told_before_the_answer_to_our_write_is_seen() {
        let cache = Cache::default();
        cache.see_secret(Event::Apply((key("a-token"), secret("s", 8, &["kubectl-edit"]))));
        cache.wrote_secret(key("a-token"), secret("s", 7, &[]));
        let known = cache.secret(&key("a-token")).unwrap();
        assert_eq!(known.resource_version, "8");
        assert!(known.was_touched());
    }

    #[test]
    fn a_secret_that_was_deleted_before_the_answer_to_our_write_is_gone() {
        let cache = Cache::default();
        cache.see_secret(Event::Apply((key("a-token"), secret("s", 7, &[]))));
        cache.see_secret(Event::Delete((key("a-token"), secret("s", 8, &[]))));
        cache.wrote_secret(key("a-token"), secret("s", 7, &[]));
        assert_eq!(cache.secret(&key("a-token")), None);
        // Another one of that name is another one, and an older deletion does not concern it.
        cache.wrote_secret(key("a-token"), secret("t", 9, &[]));
        cache.see_secret(Event::Delete((key("a-token"), secret("s", 8, &[]))));
        assert!(cache.secret(&key("a-token")).is_some());
    }

    #[test]
    fn what_is_not_listed_again_is_gone_and_so_is_what_can_t_be_read() {
        let cache = Cache::default();
        apply(&cache, import(1, "c2"));
        cache.see_import(Event::Init);
        assert!(cache.import(&key("a")).is_some(), "during a relist, all is still there");
        cache.see_import(Event::InitDone);
        assert!(cache.import(&key("a")).is_none());
        apply(&cache, import(1, "c2"));
        cache.see_import(Event::Apply((key("a"), None)));
        assert!(cache.import(&key("a")).is_none());
    }
}
