//! What the watches tell, in whichever order they tell it.

use std::collections::BTreeSet;

use kube::runtime::watcher::Event;
use mcsa_client::system::secret::SecretState;

use super::progress::Progress;
use super::{Cache, LinkEntry, SeenImport, State, wanting};
use crate::model::key::ObjectKey;
use crate::model::scope::Scope;

impl Cache {
    /// Notes that the watch of a scope's imports has ended. Nothing tells when it is resumed but what it
    /// tells then.
    pub fn note_interrupted(&self, scope: &Scope) {
        self.state().progress(scope).is_interrupted = true;
    }

    /// Whether a scope's imports are to be listed, or to be listed anew, now. A list that is under way is
    /// not interrupted, however much is lost meanwhile.
    pub fn wants_imports(&self, scope: &Scope) -> bool {
        let mut state = self.state();
        let progress = state.progress(scope);
        progress.wants_imports && !progress.lists_imports
    }

    /// Follows the watch of a scope's imports; returns those that may need something else than before, or
    /// that are gone, or whose Secrets are.
    pub fn see_import(&self, scope: &Scope, event: Event<(ObjectKey, Option<SeenImport>)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        if matches!(event, Event::Apply(_) | Event::Delete(_) | Event::InitDone) {
            state.progress(scope).is_interrupted = false;
        }
        match event {
            Event::Apply((key, Some(seen))) | Event::InitApply((key, Some(seen))) => {
                if state.set_import(seen) { vec![key] } else { Vec::new() }
            }
            Event::Delete((key, _)) | Event::Apply((key, None)) | Event::InitApply((key, None)) => {
                let gone = state.imports.remove(&key);
                state.forget(&key, gone);
                vec![key]
            }
            Event::Init => {
                let progress = state.progress(scope);
                (progress.lists_imports, progress.wants_imports) = (true, false);
                state.imports.begin(|key| scope.holds(key));
                Vec::new()
            }
            Event::InitDone => {
                let progress = state.progress(scope);
                (progress.lists_imports, progress.is_listed) = (false, true);
                let mut concerned = state.lost_secrets(scope);
                for (key, known) in state.imports.end(|key| scope.holds(key)) {
                    state.forget(&key, Some(known));
                    concerned.push(key);
                }
                concerned
            }
        }
    }

    /// Follows the watch of the metadata of a scope's Secrets; returns the imports that want a changed one.
    ///
    /// The two watches have no common order: of a Secret that went with its import, we may hear first.
    /// While both are there, that is a matter of milliseconds, and the garbage collector takes longer. When
    /// they were cut off, however, it may be half a minute; so what is lost then is kept as it was until the
    /// imports have been listed anew, and costs no token if its import is gone.
    pub fn see_secret(&self, scope: &Scope, event: Event<(ObjectKey, SecretState)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        match event {
            Event::Apply((key, secret)) | Event::InitApply((key, secret)) => state.set_secret(key, secret),
            Event::Delete((key, gone)) => {
                // One that was made again meanwhile, by ourselves, is another one.
                let is_known = state.secrets.get(&key).is_some_and(|known| known.uid == gone.uid);
                let wanting = wanting(&key, [Some(&gone)]);
                state.note_deleted(gone.uid);
                if !is_known {
                    return Vec::new();
                }
                if state.progress(scope).is_interrupted {
                    state.secrets.lose(key);
                    state.progress(scope).wants_imports = true;
                    return Vec::new();
                }
                state.secrets.remove(&key);
                wanting
            }
            Event::Init => {
                state.progress(scope).lists_secrets = true;
                state.secrets.begin(|key| scope.holds(key));
                Vec::new()
            }
            Event::InitDone => {
                let is_lossy = state.secrets.lacks(|key| scope.holds(key));
                let progress = state.progress(scope);
                progress.lists_secrets = false;
                progress.wants_imports |= is_lossy || !progress.is_listed;
                Vec::new()
            }
        }
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
            Event::Delete((name, _)) => links.remove(&name).into_iter().collect(),
            Event::Init => {
                links.begin(|_| true);
                Vec::new()
            }
            Event::InitDone => {
                let gone = links.end(|_| true);
                state.links_are_listed = true;
                gone.into_iter().map(|(_, link)| link).collect()
            }
        };
        let clusters: BTreeSet<String> = touched.into_iter().map(|link| link.cluster_name).collect();
        state.imports_where(|import| clusters.contains(import.spec.cluster_name.as_str()))
    }
}

impl State {
    fn progress(&mut self, scope: &Scope) -> &mut Progress {
        self.scopes.entry(scope.clone()).or_default()
    }

    /// Forgets the Secrets that were lost before the imports, of which all is known now, began to be
    /// listed; returns the imports that want them.
    fn lost_secrets(&mut self, scope: &Scope) -> Vec<ObjectKey> {
        let Progress { wants_imports, lists_secrets, .. } = *self.progress(scope);
        if wants_imports || lists_secrets {
            return Vec::new();
        }
        let lost = self.secrets.end(|key| scope.holds(key));
        lost.iter().flat_map(|(key, secret)| wanting(key, [Some(secret)])).collect()
    }
}
