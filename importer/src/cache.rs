//! The objects that the watches have observed, in the form that a reconciliation needs.

mod checks;
pub mod count;
mod events;
mod objects;
mod policies;
mod progress;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use mcsa_credentials::secret::{Names, SecretState};
use tokio::time::Instant;

pub use self::checks::CheckRequest;
use self::checks::CheckState;
pub use self::objects::{CachedImport, LinkEntry, ObservedImport, version_of};
use self::policies::Policies;
use self::progress::Progress;
use self::store::Store;
use crate::model::account::Account;
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::model::scope::Scope;
use crate::model::status::StatusSummary;
use crate::model::unreadable::UnreadableImport;

/// How many deleted Secrets are remembered: more than there can be concurrent writes.
const DELETED: usize = 1024;

/// Stands for all sources without a link, in the queue and in metrics: anyone who may create imports chooses their
/// names.
pub const UNLINKED: &str = "unlinked";

/// Imports, the metadata of their Secrets, and links.
#[derive(Debug)]
pub struct Cache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    scopes: BTreeMap<Scope, Progress>,
    links_are_listed: bool,
    policies: Policies,
    imports: Store<ObjectKey, CachedImport>,
    /// Imports that can't be read. The others are in `imports`.
    unreadable: Store<ObjectKey, UnreadableImport>,
    secrets: Store<ObjectKey, SecretState>,
    /// By name of the link's Secret.
    links: Store<String, LinkEntry>,
    /// Most Secrets hold the same names, so they share them.
    names: HashSet<Arc<Names>>,
    /// Of links with a check request.
    checks: BTreeMap<ObjectKey, CheckState>,
    /// When each source was last checked; entries are dropped after the pause between checks.
    last_checks: BTreeMap<String, Instant>,
    /// UIDs and versions of the Secrets deleted last: the response to an earlier write may arrive after the deletion.
    deleted: VecDeque<(Box<str>, Option<u64>)>,
}

impl Cache {
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let scopes = scopes.into_iter().map(|scope| (scope, Progress::default())).collect();
        Self { state: Mutex::new(State { scopes, ..State::default() }) }
    }

    /// Whether links, policies and each scope are listed. A scope may be forbidden.
    pub fn is_synced(&self) -> bool {
        let state = self.state();
        let is_done = |progress: &Progress| progress.is_listed || progress.is_forbidden;
        state.links_are_listed && state.policies.is_listed() && state.scopes.values().all(is_done)
    }

    /// The namespaces that the importer is confined to, and whether each is listed.
    pub fn namespaces(&self) -> BTreeMap<String, bool> {
        let state = self.state();
        let is_served = |progress: &Progress| progress.is_listed && !progress.is_forbidden;
        let named = state.scopes.iter().filter_map(|(scope, it)| Some((scope.namespace()?, is_served(it))));
        named.map(|(name, is_served)| (name.to_owned(), is_served)).collect()
    }

    /// Records whether listing a scope is forbidden; returns whether that changed.
    pub fn record_forbidden(&self, scope: &Scope, is_forbidden: bool) -> bool {
        let mut state = self.state();
        let progress = state.scopes.get_mut(scope);
        progress.is_some_and(|it| std::mem::replace(&mut it.is_forbidden, is_forbidden) != is_forbidden)
    }

    pub fn import(&self, key: &ObjectKey) -> Option<CachedImport> {
        self.state().imports.get(key).cloned()
    }

    /// The import, if it can't be read.
    pub fn unreadable(&self, key: &ObjectKey) -> Option<UnreadableImport> {
        self.state().unreadable.get(key).cloned()
    }

    /// The Secret, if it has the label that the watch selects by.
    pub fn secret(&self, key: &ObjectKey) -> Option<SecretState> {
        self.state().secrets.get(key).cloned()
    }

    /// The link to a source. If there are several, the first by the name of its Secret.
    pub fn link(&self, cluster_name: &str) -> Option<LinkEntry> {
        self.state().link(cluster_name).cloned()
    }

    /// The name of a source that has a link, or [`UNLINKED`].
    pub fn source_or_unlinked<'a>(&self, cluster_name: &'a str) -> &'a str {
        if self.state().link(cluster_name).is_some() { cluster_name } else { UNLINKED }
    }

    /// The link in this Secret of the system namespace.
    pub fn link_in(&self, secret: &str) -> Option<LinkEntry> {
        self.state().links.get(secret).cloned()
    }

    /// The namespaces of a source whose service accounts have tokens in the target.
    pub fn namespaces_of(&self, cluster_name: &str) -> BTreeSet<String> {
        let state = self.state();
        let served = state.imports.iter().map(|(_, known)| known).filter(|known| known.summary.has_secret);
        let own = served.filter(|known| known.import.spec.cluster_name == cluster_name);
        own.map(|known| known.import.spec.namespace.clone()).collect()
    }

    /// The service accounts of a source that are imported.
    pub fn accounts_of(&self, cluster_name: &str) -> HashSet<ObjectKey> {
        let state = self.state();
        let imports = state.imports.iter().map(|(_, known)| &known.import);
        imports.filter(|import| import.spec.cluster_name == cluster_name).map(|it| it.account_key()).collect()
    }

    /// Records the Secret that the importer just wrote, unless the watch has observed a newer one.
    pub fn record_written_secret(&self, key: ObjectKey, secret: SecretState) {
        let mut state = self.state();
        if state.is_deleted(&secret) {
            return;
        }
        let written = secret.as_written();
        let newest = match state.secrets.get(&key) {
            Some(known) if written.is_older_than(known) => known.clone().after(&written),
            _ => written,
        };
        let newest = state.with_shared_names(newest);
        state.secrets.set(key, newest);
    }

    /// Records the Secret whose labels and annotations the importer just restored. Its values may still be edited.
    pub fn record_restored_secret(&self, key: ObjectKey, secret: SecretState) {
        let mut state = self.state();
        if !state.is_deleted(&secret) {
            state.set_secret(key, secret);
        }
    }

    /// Records that the importer is about to write this status.
    pub fn record_pending_status(&self, import: &Import, summary: &StatusSummary) {
        if let Some(known) = self.state().imports.get_mut(&import.key) {
            known.pending_digest = summary.digest();
        }
    }

    /// Records the status that the importer just wrote. The rest of the response is ignored: the watch
    /// reports spec changes, and may be ahead of the response.
    pub fn record_written_status(&self, import: &Import, summary: StatusSummary, version: u64) {
        if let Some(known) = self.state().imports.get_mut(&import.key)
            && known.import.uid == import.uid
            && known.version <= version
        {
            (known.summary, known.version) = (summary, version);
        }
    }

    /// Clears the report about the service account, unless a newer one has arrived.
    pub fn clear_account(&self, key: &ObjectKey, account: Option<&Account>) {
        if let Some(known) = self.state().imports.get_mut(key)
            && known.account.as_ref() == account
        {
            known.account = None;
        }
    }

    /// Records the shortened lifetime, in seconds; returns whether it has to be reported.
    pub fn record_lifetime(&self, key: &ObjectKey, seconds: Option<u64>) -> bool {
        self.state().imports.get_mut(key).is_some_and(|known| {
            std::mem::replace(&mut known.reported_lifetime, seconds) != seconds && seconds.is_some()
        })
    }

    /// Makes each token due `now`: after the clock was set back, recorded times are wrong.
    pub fn mark_all_due(&self, now: Timestamp) -> Vec<ObjectKey> {
        let mut state = self.state();
        for secret in state.secrets.values_mut() {
            if let Some(provenance) = &mut secret.provenance {
                provenance.refresh_at = Some(now);
            }
        }
        state.imports_where(|_| true)
    }

    /// Records a report about a service account; returns the imports that need another token.
    pub fn observe_account(
        &self,
        cluster_name: &str,
        account: &ObjectKey,
        report: &Account,
    ) -> Vec<ObjectKey> {
        self.state()
            .update_accounts(|import| import.is_for(cluster_name, account).then(|| Some(report.clone())))
    }

    /// Records a complete list: `None` for each service account that does not exist. Returns the imports
    /// that need another token.
    pub fn observe_account_list(
        &self,
        cluster_name: &str,
        report: &HashMap<ObjectKey, Option<Arc<str>>>,
    ) -> Vec<ObjectKey> {
        self.state().update_accounts(|import| {
            let is_of_source = import.spec.cluster_name == cluster_name;
            let report = is_of_source.then(|| report.get(&import.account_key())).flatten()?;
            Some(report.clone().map(Account::Exists))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new([Scope::All])
    }
}

impl State {
    fn link(&self, cluster_name: &str) -> Option<&LinkEntry> {
        let named = self.links.iter().filter(|(_, link)| link.cluster_name == cluster_name);
        named.min_by_key(|(secret, _)| *secret).map(|(_, link)| link)
    }

    /// Drops the remaining records of a deleted import.
    fn forget(&mut self, key: &ObjectKey, deleted: Option<CachedImport>) {
        self.checks.remove(key);
        let link = deleted.and_then(|known| self.link(&known.import.spec.cluster_name));
        if let Some(source) = link.and_then(|link| link.source.as_ref().ok()) {
            source.remove_waiting(key);
        }
    }

    fn imports_where(&self, matches: impl Fn(&Import) -> bool) -> Vec<ObjectKey> {
        let matching = self.imports.iter().filter(|(_, known)| matches(&known.import));
        matching.map(|(key, _)| key.clone()).collect()
    }

    /// Returns whether the spec changed, or another client wrote the status.
    fn set_import(&mut self, observed: ObservedImport) -> bool {
        let ObservedImport { import, summary, version, check } = observed;
        let wanted = |it: &Import| (it.generation, it.is_link, it.is_deleted, it.pinned_uid.clone());
        let key = import.key.clone();
        let known = self.imports.get(&key).filter(|known| known.import.uid == import.uid);
        let Some(known) = known else {
            self.checks.remove(&key);
            self.observe_check(&key, check);
            let import = Arc::new(import);
            let known = CachedImport {
                import,
                summary,
                account: None,
                version,
                pending_digest: None,
                reported_lifetime: None,
            };
            self.imports.set(key, known);
            return true;
        };
        if version < known.version {
            // The response to a status write overtook the watch, which will report the newer version.
            self.imports.mark_listed(&key);
            return false;
        }
        let known = known.clone();
        self.observe_check(&key, check);
        let is_ours = summary.digest() == known.summary.digest()
            || (known.pending_digest.is_some() && summary.digest() == known.pending_digest);
        let is_changed = wanted(&known.import) != wanted(&import) || !is_ours;
        let import = if *known.import == import { known.import.clone() } else { Arc::new(import) };
        let known = CachedImport { import, summary, version, ..known };
        self.imports.set(key, known);
        is_changed
    }

    fn set_secret(&mut self, key: ObjectKey, secret: SecretState) -> Vec<ObjectKey> {
        let secret = match self.secrets.get(&key) {
            None => secret,
            Some(known) if secret.is_no_newer_than(known) => {
                self.secrets.mark_listed(&key);
                return Vec::new();
            }
            Some(known) => secret.after(known),
        };
        let secret = self.with_shared_names(secret);
        let before = self.secrets.set(key.clone(), secret.clone());
        if before.as_ref() == Some(&secret) {
            Vec::new()
        } else {
            interested_imports(&key, [before.as_ref(), Some(&secret)])
        }
    }

    /// Applies what the source reported. `Some(None)`: the service account does not exist.
    fn update_accounts(&mut self, report: impl Fn(&Import) -> Option<Option<Account>>) -> Vec<ObjectKey> {
        let Self { imports, secrets, .. } = self;
        let mut changed = Vec::new();
        for known in imports.values_mut() {
            let Some(report) = report(&known.import) else { continue };
            let provenance =
                secrets.get(&known.import.secret_key()).and_then(|secret| secret.provenance.as_ref());
            let held = provenance.map(|token| token.service_account_uid.as_str());
            // `None`: the service account that the token was minted for is deleted.
            let Some(account) = report.or_else(|| held.map(|uid| Account::Deleted(uid.into()))) else {
                continue;
            };
            let needs_token = match held {
                Some(held) => !account.allows(held),
                // The import may have waited for the service account.
                None => matches!(account, Account::Exists(_)),
            };
            known.account = needs_token.then_some(account);
            if needs_token {
                changed.push(known.import.key.clone());
            }
        }
        changed
    }

    /// Whether this version of the Secret was deleted. A Secret that only lost its label for a while has a later one.
    fn is_deleted(&self, secret: &SecretState) -> bool {
        let version = secret.resource_version.parse::<u64>().ok();
        self.deleted.iter().any(|(uid, deleted)| *uid == secret.uid && version <= *deleted)
    }

    fn record_deleted(&mut self, deleted: SecretState) {
        self.deleted.push_back((deleted.uid, deleted.resource_version.parse().ok()));
        if self.deleted.len() > DELETED {
            self.deleted.pop_front();
        }
    }

    fn with_shared_names(&mut self, mut secret: SecretState) -> SecretState {
        if let Some(names) = self.names.get(&secret.names) {
            secret.names = names.clone();
            return secret;
        }
        self.names.retain(|names| Arc::strong_count(names) > 1);
        self.names.insert(secret.names.clone());
        secret
    }
}

/// The imports that a Secret concerns: its current and former owner, and the one whose default name it has.
fn interested_imports<'a>(
    key: &ObjectKey,
    states: impl IntoIterator<Item = Option<&'a SecretState>>,
) -> Vec<ObjectKey> {
    let owners = states.into_iter().flatten().filter_map(|secret| Some(&*secret.owner.as_ref()?.name));
    let names: BTreeSet<&str> = owners.chain(key.name().strip_suffix("-token")).collect();
    names.into_iter().map(|name| ObjectKey::new(key.namespace(), name)).collect()
}
