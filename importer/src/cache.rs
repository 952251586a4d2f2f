//! What the watches have seen, in the form that a reconciliation needs.

mod checks;
pub mod count;
mod follow;
mod known;
mod mirror;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use mcsa_client::system::secret::{Names, SecretState};
use tokio::time::Instant;

use self::checks::Check;
pub use self::checks::Question;
pub use self::known::{Known, LinkEntry, SeenImport, version_of};
use self::mirror::Mirror;
use self::progress::Progress;
use crate::model::account::Account;
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::model::scope::Scope;
use crate::model::status::Shown;

/// How many deleted Secrets are remembered: more than there can be writes on the way.
const DELETED: usize = 1024;

/// Imports, the metadata of their Secrets, and links.
#[derive(Debug)]
pub struct Cache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where imports are served, and how far the watches there are.
    scopes: BTreeMap<Scope, Progress>,
    links_are_listed: bool,
    imports: Mirror<ObjectKey, Known>,
    secrets: Mirror<ObjectKey, SecretState>,
    /// By name of the link's Secret.
    links: Mirror<String, LinkEntry>,
    /// Secrets are much alike: those that hold the same share the names of it.
    names: HashSet<Arc<Names>>,
    /// Of links that were asked about.
    checks: BTreeMap<ObjectKey, Check>,
    /// When each source was last asked on behalf of people, as long as that matters.
    asked: BTreeMap<String, Instant>,
    /// UIDs of the Secrets that were deleted last: the answer to our own write may come later.
    deleted: VecDeque<Box<str>>,
}

impl Cache {
    /// An empty cache for watches of these scopes.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let scopes = scopes.into_iter().map(|scope| (scope, Progress::default())).collect();
        Self { state: Mutex::new(State { scopes, ..State::default() }) }
    }

    /// Whether all that there is was told, or can't be told for lack of a right.
    pub fn is_synced(&self) -> bool {
        let state = self.state();
        let is_settled = |progress: &Progress| progress.is_listed || progress.is_forbidden;
        state.links_are_listed && state.scopes.values().all(is_settled)
    }

    /// The namespaces that the importer is confined to, and whether it knows what is in them.
    pub fn namespaces(&self) -> BTreeMap<String, bool> {
        let state = self.state();
        let is_known = |progress: &Progress| progress.is_listed && !progress.is_forbidden;
        let named = state.scopes.iter().filter_map(|(scope, it)| Some((scope.namespace()?, is_known(it))));
        named.map(|(name, is_known)| (name.to_owned(), is_known)).collect()
    }

    /// Notes that a scope can't be listed for lack of a right, or can be after all; whether that is news.
    pub fn note_forbidden(&self, scope: &Scope, is_forbidden: bool) -> bool {
        let mut state = self.state();
        let progress = state.scopes.get_mut(scope);
        progress.is_some_and(|it| std::mem::replace(&mut it.is_forbidden, is_forbidden) != is_forbidden)
    }

    /// The import, if it is still there.
    pub fn import(&self, key: &ObjectKey) -> Option<Known> {
        self.state().imports.get(key).cloned()
    }

    /// The Secret of this name, as far as it bears our label.
    pub fn secret(&self, key: &ObjectKey) -> Option<SecretState> {
        self.state().secrets.get(key).cloned()
    }

    /// The link to a source. Where there are several, that of the first Secret by name.
    pub fn link(&self, cluster_name: &str) -> Option<LinkEntry> {
        self.state().link(cluster_name).cloned()
    }

    /// The link that was last seen in a Secret of the system namespace.
    pub fn link_in(&self, secret: &str) -> Option<LinkEntry> {
        self.state().links.get(secret).cloned()
    }

    /// The namespaces of a source that have had tokens minted.
    pub fn namespaces_of(&self, cluster_name: &str) -> BTreeSet<String> {
        let state = self.state();
        let served = state.imports.iter().map(|(_, known)| known).filter(|known| known.shown.has_secret);
        let own = served.filter(|known| known.import.spec.cluster_name == cluster_name);
        own.map(|known| known.import.spec.namespace.clone()).collect()
    }

    /// The service accounts of a source that are imported.
    pub fn accounts_of(&self, cluster_name: &str) -> HashSet<ObjectKey> {
        let state = self.state();
        let imports = state.imports.iter().map(|(_, known)| &known.import);
        imports.filter(|import| import.spec.cluster_name == cluster_name).map(|it| it.account_key()).collect()
    }

    /// Keeps what the importer itself just wrote, unless the watch was faster and knows better.
    pub fn wrote_secret(&self, key: ObjectKey, secret: SecretState) {
        let mut state = self.state();
        if state.deleted.contains(&secret.uid) {
            return;
        }
        let written = secret.as_written();
        let newest = match state.secrets.get(&key) {
            Some(known) if written.is_older_than(known) => known.clone().after(&written),
            _ => written,
        };
        let newest = state.sharing(newest);
        state.secrets.set(key, newest);
    }

    /// The importer itself is about to write this status.
    pub fn writes_status(&self, import: &Import, shown: &Shown) {
        if let Some(known) = self.state().imports.get_mut(&import.key) {
            known.writing = shown.digest();
        }
    }

    /// Keeps the status that the importer itself just wrote. Only that: whatever else the answer
    /// says, the watch may have told newer, or is still to tell.
    pub fn wrote_status(&self, import: &Import, shown: Shown, version: u64) {
        if let Some(known) = self.state().imports.get_mut(&import.key)
            && known.import.uid == import.uid
            && known.version <= version
        {
            (known.shown, known.version) = (shown, version);
        }
    }

    /// What was told of the service account is settled, if that is all that was told.
    pub fn settle(&self, key: &ObjectKey, account: Option<&Account>) {
        if let Some(known) = self.state().imports.get_mut(key)
            && known.account.as_ref() == account
        {
            known.account = None;
        }
    }

    /// Notes the lifetime, in seconds, that the import's user is told of; whether that is news.
    pub fn tells_lifetime(&self, key: &ObjectKey, seconds: Option<u64>) -> bool {
        self.state().imports.get_mut(key).is_some_and(|known| {
            std::mem::replace(&mut known.told_lifetime, seconds) != seconds && seconds.is_some()
        })
    }

    /// After the clock was set back, the times on the Secrets say nothing: each is due `now`.
    pub fn distrust_times(&self, now: Timestamp) -> Vec<ObjectKey> {
        let mut state = self.state();
        for secret in state.secrets.values_mut() {
            if let Some(provenance) = &mut secret.provenance {
                provenance.refresh_at = Some(now);
            }
        }
        state.imports_where(|_| true)
    }

    /// A source tells of a service account; returns the imports whose tokens are not of this one.
    pub fn see_account(&self, cluster_name: &str, account: &ObjectKey, told: &Account) -> Vec<ObjectKey> {
        self.state().set_accounts(|import| import.is_for(cluster_name, account).then(|| Some(told.clone())))
    }

    /// A source told the UIDs of these service accounts, or none where there is none; returns the
    /// imports whose tokens are not of these.
    pub fn see_accounts(
        &self,
        cluster_name: &str,
        told: &HashMap<ObjectKey, Option<Arc<str>>>,
    ) -> Vec<ObjectKey> {
        self.state().set_accounts(|import| {
            let is_of_source = import.spec.cluster_name == cluster_name;
            let told = is_of_source.then(|| told.get(&import.account_key())).flatten()?;
            Some(told.clone().map(Account::Is))
        })
    }

    /// All imports and links, for whoever counts them.
    pub fn count(&self, mut see: impl FnMut(&Import, &Shown)) -> BTreeMap<String, bool> {
        let state = self.state();
        state.imports.iter().for_each(|(_, known)| see(&known.import, &known.shown));
        let is_up = |link: &LinkEntry| link.source.as_ref().is_ok_and(|source| source.is_up());
        state.links.iter().map(|(_, link)| (link.cluster_name.clone(), is_up(link))).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Cache {
    /// For watches of all namespaces.
    fn default() -> Self {
        Self::new([Scope::All])
    }
}

impl State {
    fn link(&self, cluster_name: &str) -> Option<&LinkEntry> {
        let named = self.links.iter().filter(|(_, link)| link.cluster_name == cluster_name);
        named.min_by_key(|(secret, _)| *secret).map(|(_, link)| link)
    }

    /// Forgets what else is kept of an import that is gone.
    fn forget(&mut self, key: &ObjectKey, gone: Option<Known>) {
        self.checks.remove(key);
        let link = gone.and_then(|known| self.link(&known.import.spec.cluster_name));
        if let Some(source) = link.and_then(|link| link.source.as_ref().ok()) {
            source.wait_no_more(key);
        }
    }

    fn imports_where(&self, is_meant: impl Fn(&Import) -> bool) -> Vec<ObjectKey> {
        let meant = self.imports.iter().filter(|(_, known)| is_meant(&known.import));
        meant.map(|(key, _)| key.clone()).collect()
    }

    /// Whether the import wants something else than before, or its status is not what we wrote.
    fn set_import(&mut self, seen: SeenImport) -> bool {
        let SeenImport { import, shown, version, check } = seen;
        let wish = |it: &Import| (it.generation, it.is_link, it.is_deleted, it.pinned_uid.clone());
        let key = import.key.clone();
        let known = self.imports.get(&key).filter(|known| known.import.uid == import.uid);
        let Some(known) = known else {
            self.checks.remove(&key);
            self.see_check(&key, check);
            let import = Arc::new(import);
            let known = Known { import, shown, account: None, version, writing: None, told_lifetime: None };
            self.imports.set(key, known);
            return true;
        };
        if version < known.version {
            // Our own write was answered first; the watch will tell what came of both.
            self.imports.keep(&key);
            return false;
        }
        let known = known.clone();
        self.see_check(&key, check);
        let is_ours = shown.digest() == known.shown.digest()
            || (known.writing.is_some() && shown.digest() == known.writing);
        let news = wish(&known.import) != wish(&import) || !is_ours;
        let import = if *known.import == import { known.import.clone() } else { Arc::new(import) };
        let known = Known { import, shown, version, ..known };
        self.imports.set(key, known);
        news
    }

    fn set_secret(&mut self, key: ObjectKey, secret: SecretState) -> Vec<ObjectKey> {
        let secret = match self.secrets.get(&key) {
            None => secret,
            Some(known) if secret.is_no_newer_than(known) => {
                self.secrets.keep(&key);
                return Vec::new();
            }
            Some(known) => secret.after(known),
        };
        let secret = self.sharing(secret);
        let before = self.secrets.set(key.clone(), secret.clone());
        if before.as_ref() == Some(&secret) {
            Vec::new()
        } else {
            wanting(&key, [before.as_ref(), Some(&secret)])
        }
    }

    /// What is `told` of an import's service account, if anything: none is there where it is none.
    fn set_accounts(&mut self, told: impl Fn(&Import) -> Option<Option<Account>>) -> Vec<ObjectKey> {
        let Self { imports, secrets, .. } = self;
        let mut changed = Vec::new();
        for known in imports.values_mut() {
            let Some(told) = told(&known.import) else { continue };
            let provenance =
                secrets.get(&known.import.secret_key()).and_then(|secret| secret.provenance.as_ref());
            let held = provenance.map(|token| token.service_account_uid.as_str());
            // Whichever one there was is gone.
            let Some(account) = told.or_else(|| held.map(|uid| Account::Gone(uid.into()))) else { continue };
            let is_news = match held {
                Some(held) => !account.allows(held),
                // It may have been waited for.
                None => matches!(account, Account::Is(_)),
            };
            known.account = is_news.then_some(account);
            if is_news {
                changed.push(known.import.key.clone());
            }
        }
        changed
    }

    fn note_deleted(&mut self, uid: Box<str>) {
        self.deleted.push_back(uid);
        if self.deleted.len() > DELETED {
            self.deleted.pop_front();
        }
    }

    /// The same, with its names shared.
    fn sharing(&mut self, mut secret: SecretState) -> SecretState {
        if let Some(names) = self.names.get(&secret.names) {
            secret.names = names.clone();
            return secret;
        }
        self.names.retain(|names| Arc::strong_count(names) > 1);
        self.names.insert(secret.names.clone());
        secret
    }
}

/// The imports that want a Secret: those that own it, or did, and the one that it is named after.
fn wanting<'a>(key: &ObjectKey, states: impl IntoIterator<Item = Option<&'a SecretState>>) -> Vec<ObjectKey> {
    let owners = states.into_iter().flatten().filter_map(|secret| Some(&*secret.owner.as_ref()?.name));
    let names: BTreeSet<&str> = owners.chain(key.name().strip_suffix("-token")).collect();
    names.into_iter().map(|name| ObjectKey::new(key.namespace(), name)).collect()
}
