//! Applies watch events. The watches emit them in any order.

use std::collections::BTreeSet;

use kube::runtime::watcher::Event;
use mcsa_credentials::secret::SecretState;

use super::progress::Progress;
use super::{Cache, LinkEntry, ObservedImport, State, interested_imports};
use crate::model::key::ObjectKey;
use crate::model::scope::Scope;
use crate::model::unreadable::UnreadableImport;

impl Cache {
    /// Records that the watch of a scope's imports was interrupted. kube emits no event on resume, so the
    /// next event ends the interruption.
    pub fn record_interruption(&self, scope: &Scope) {
        self.state().progress(scope).is_interrupted = true;
    }

    /// Whether a scope's imports have to be listed now. A list in progress is not restarted, even if more
    /// Secrets are lost meanwhile.
    pub fn needs_import_list(&self, scope: &Scope) -> bool {
        let mut state = self.state();
        let progress = state.progress(scope);
        progress.needs_import_list && !progress.lists_imports
    }

    /// Applies an event about imports; returns the imports that changed, were deleted, can't be read, or lost their
    /// Secret.
    pub fn observe_import(
        &self,
        scope: &Scope,
        event: Event<(ObjectKey, Result<ObservedImport, Box<UnreadableImport>>)>,
    ) -> Vec<ObjectKey> {
        let mut state = self.state();
        if matches!(event, Event::Apply(_) | Event::Delete(_) | Event::InitDone) {
            state.progress(scope).is_interrupted = false;
        }
        match event {
            Event::Apply((key, Ok(observed))) | Event::InitApply((key, Ok(observed))) => {
                state.unreadable.remove(&key);
                if state.set_import(observed) { vec![key] } else { Vec::new() }
            }
            Event::Apply((key, Err(unreadable))) | Event::InitApply((key, Err(unreadable))) => {
                let before = state.imports.remove(&key);
                state.forget(&key, before);
                state.unreadable.set(key.clone(), *unreadable);
                vec![key]
            }
            Event::Delete((key, _)) => {
                let deleted = state.imports.remove(&key);
                state.forget(&key, deleted);
                state.unreadable.remove(&key);
                vec![key]
            }
            Event::Init => {
                let progress = state.progress(scope);
                (progress.lists_imports, progress.needs_import_list) = (true, false);
                state.imports.begin_relist(|key| scope.holds(key));
                state.unreadable.begin_relist(|key| scope.holds(key));
                Vec::new()
            }
            Event::InitDone => {
                let progress = state.progress(scope);
                (progress.lists_imports, progress.is_listed) = (false, true);
                let mut concerned = state.remove_lost_secrets(scope);
                let gone = state.unreadable.end_relist(|key| scope.holds(key));
                concerned.extend(gone.into_iter().map(|(key, _)| key));
                for (key, known) in state.imports.end_relist(|key| scope.holds(key)) {
                    state.forget(&key, Some(known));
                    concerned.push(key);
                }
                concerned
            }
        }
    }

    /// Applies an event about a Secret's metadata; returns the imports that it concerns.
    ///
    /// The watches have no common order: the deletion of a Secret may be reported before that of its import. While
    /// both watches run, they differ by milliseconds, which is less than the garbage collector takes. After an
    /// interruption of the imports' watch, they may differ by half a minute. A Secret that is deleted in that time
    /// stays in the cache until the imports are listed again, so that no token is minted for a deleted import.
    pub fn observe_secret(&self, scope: &Scope, event: Event<(ObjectKey, SecretState)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        match event {
            Event::Apply((key, secret)) | Event::InitApply((key, secret)) => state.set_secret(key, secret),
            Event::Delete((key, deleted)) => {
                // The importer may have recreated it meanwhile.
                let is_known = state.secrets.get(&key).is_some_and(|known| known.uid == deleted.uid);
                let interested_imports = interested_imports(&key, [Some(&deleted)]);
                state.record_deleted(deleted);
                if !is_known {
                    return Vec::new();
                }
                if state.progress(scope).is_interrupted {
                    state.secrets.mark_lost(key);
                    state.progress(scope).needs_import_list = true;
                    return Vec::new();
                }
                state.secrets.remove(&key);
                interested_imports
            }
            Event::Init => {
                state.progress(scope).lists_secrets = true;
                state.secrets.begin_relist(|key| scope.holds(key));
                Vec::new()
            }
            Event::InitDone => {
                let is_incomplete = state.secrets.has_unlisted(|key| scope.holds(key));
                let progress = state.progress(scope);
                progress.lists_secrets = false;
                progress.needs_import_list |= is_incomplete || !progress.is_listed;
                Vec::new()
            }
        }
    }

    /// Applies an event about a link; returns the imports of each source whose link changed.
    pub fn observe_link(&self, event: Event<(String, LinkEntry)>) -> Vec<ObjectKey> {
        let mut state = self.state();
        let links = &mut state.links;
        let changed: Vec<LinkEntry> = match event {
            Event::Apply((name, link)) | Event::InitApply((name, link)) => {
                let before = links.set(name, link.clone());
                before.into_iter().chain([link]).collect()
            }
            Event::Delete((name, _)) => links.remove(&name).into_iter().collect(),
            Event::Init => {
                links.begin_relist(|_| true);
                Vec::new()
            }
            Event::InitDone => {
                let deleted = links.end_relist(|_| true);
                state.links_are_listed = true;
                deleted.into_iter().map(|(_, link)| link).collect()
            }
        };
        let clusters: BTreeSet<String> = changed.into_iter().map(|link| link.cluster_name).collect();
        state.imports_where(|import| clusters.contains(import.spec.cluster_name.as_str()))
    }
}

impl State {
    fn progress(&mut self, scope: &Scope) -> &mut Progress {
        self.scopes.entry(scope.clone()).or_default()
    }

    /// Removes the Secrets that were lost before the list of imports began, which is complete now; returns
    /// the imports that they concern.
    fn remove_lost_secrets(&mut self, scope: &Scope) -> Vec<ObjectKey> {
        let Progress { needs_import_list, lists_secrets, .. } = *self.progress(scope);
        if needs_import_list || lists_secrets {
            return Vec::new();
        }
        let lost = self.secrets.end_relist(|key| scope.holds(key));
        lost.iter().flat_map(|(key, secret)| interested_imports(key, [Some(secret)])).collect()
    }
}
