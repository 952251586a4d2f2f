//! What the watches have seen, in the form that a reconciliation needs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;
use mcsa_client::ServiceAccountImport;
use mcsa_client::secret::SecretState;

use crate::source::Source;

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

    /// Keeps what the importer itself just wrote, ahead of the watch.
    pub fn wrote_secret(&self, key: ObjectKey, secret: SecretState) {
        self.state().secrets.set(key, secret.as_written());
    }

    /// Keeps the status that the importer itself just wrote, ahead of the watch.
    pub fn wrote_status(&self, key: &ObjectKey, import: ServiceAccountImport) {
        if let Some(known) = self.state().imports.objects.get_mut(key)
            && known.metadata.uid == import.metadata.uid
        {
            *known = Arc::new(import);
        }
    }

    /// Follows the watch of imports; returns those whose wish may have changed.
    pub fn see_import(&self, event: Event<(ObjectKey, ServiceAccountImport)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        match event {
            Event::Apply((key, import)) | Event::InitApply((key, import)) => {
                let changed = state.set_import(key.clone(), import);
                if changed { vec![key] } else { Vec::new() }
            }
            Event::Delete((key, _)) => {
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
            // One that was made again meanwhile, by ourselves, is another one.
            Event::Delete((key, gone)) => match state.secrets.objects.get(&key) {
                Some(known) if known.uid == gone.uid => {
                    state.secrets.objects.remove(&key);
                    vec![key]
                }
                _ => Vec::new(),
            },
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
