//! Adds and removes members as imports change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::names::{Candidate, Names};
use super::secret::{self, ReadResult};
use super::{Imports, Key, key};
use crate::ServiceAccountImport;
use crate::clusters::member::{Member, NewMember};
use crate::clusters::set::Set;
use crate::error::ConfigError;
use crate::live::{LiveConfig, error_message};

/// The most Secrets that are read at a time.
const CONCURRENT_READS: usize = 8;

/// Feeds the set with the imports of a watch.
pub(super) struct Feed {
    imports: Imports,
    set: Set,
    known: BTreeMap<Key, Known>,
    names: Names,
    /// The imports received so far of a list that is not complete.
    listed: BTreeSet<Key>,
    /// Whether the first list is complete. Before, it is unknown which import has a name.
    is_listed: bool,
    reads: JoinSet<(Key, u64, ReadResult)>,
    /// The number of reads that were started.
    started_reads: u64,
    read_permits: Arc<Semaphore>,
    /// Whether the last event of the watch was an error.
    is_interrupted: bool,
}

/// What is known about an import.
struct Known {
    import: Arc<ServiceAccountImport>,
    /// The name of its member.
    name: Arc<str>,
    /// The number of the latest read, while it runs. Results of earlier reads are ignored.
    reading: Option<u64>,
    member: Option<Joined>,
    /// Why the latest read failed, or the cluster could not join.
    problem: Option<String>,
}

/// A member of the set, and the UID of its cluster.
struct Joined {
    member: Member,
    live: LiveConfig,
    uid: Option<String>,
}

impl Feed {
    pub(super) fn new(imports: Imports, set: Set) -> Self {
        Self {
            imports,
            set,
            known: BTreeMap::new(),
            names: Names::default(),
            listed: BTreeSet::new(),
            is_listed: false,
            reads: JoinSet::new(),
            started_reads: 0,
            read_permits: Arc::new(Semaphore::new(CONCURRENT_READS)),
            is_interrupted: false,
        }
    }

    /// Whether the first list is complete, and no Secret is being read.
    pub(super) fn is_synced(&self) -> bool {
        self.is_listed && self.reads.is_empty()
    }

    pub(super) fn handle(&mut self, event: Event<ServiceAccountImport>) {
        self.is_interrupted = false;
        match event {
            Event::Init => self.listed.clear(),
            // Nobody but the importer may use the identity of a link: it may request tokens of many service accounts.
            Event::InitApply(import) if import.is_link() => {}
            Event::Apply(import) if import.is_link() => self.remove(&key(&import)),
            Event::InitApply(import) => {
                self.listed.insert(key(&import));
                self.apply(import);
            }
            Event::InitDone => self.finish_list(),
            Event::Apply(import) => self.apply(import),
            Event::Delete(import) => self.remove(&key(&import)),
        }
    }

    fn finish_list(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        let deleted: Vec<_> = self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        deleted.iter().for_each(|key| self.remove(key));
        if !std::mem::replace(&mut self.is_listed, true) {
            let names: Vec<_> = self.names.all().cloned().collect();
            names.iter().for_each(|name| self.assign(name));
        }
    }

    /// Records an import. Reads its Secret if the Secret may have changed.
    fn apply(&mut self, mut import: ServiceAccountImport) {
        // Managed fields are as large as all other fields together.
        import.metadata.managed_fields = None;
        let import = Arc::new(import);
        let (key, candidate) = (key(&import), Candidate::of(&import));
        let name: Arc<str> = (self.imports.name)(&import).into();
        let is_same = |known: &Known| {
            known.name == name
                && Candidate::of(&known.import) == candidate
                && identity(&known.import) == identity(&import)
        };
        // Another identity is another member.
        if self.known.get(&key).is_some_and(|known| !is_same(known)) {
            self.remove(&key);
        }
        match self.known.get_mut(&key) {
            Some(known) => {
                let is_changed = secret_version(&known.import) != secret_version(&import);
                if let Some(joined) = &known.member {
                    joined.member.set_import(import.clone());
                }
                known.import = import;
                if is_changed && self.is_listed && self.names.winner(&name) == Some(&key) {
                    self.read(key);
                }
            }
            None => {
                self.names.add(&name, candidate);
                let known = Known { import, name: name.clone(), reading: None, member: None, problem: None };
                self.known.insert(key, known);
                self.assign(&name);
            }
        }
    }

    /// Gives a name to the import that it belongs to, and takes it from all others.
    fn assign(&mut self, name: &str) {
        if !self.is_listed {
            return;
        }
        let Some(winner) = self.names.winner(name).cloned() else { return };
        for key in self.names.losers(name) {
            let Some(known) = self.known.get_mut(key) else { continue };
            known.reading = None;
            if let Some(joined) = known.member.take() {
                leave(&self.set, joined, key);
            }
            let problem = format!("the older import {}/{} has the name {name}", winner.0, winner.1);
            known.set_problem(key, Some(problem));
        }
        if self.known.get(&winner).is_some_and(|known| known.member.is_none() && known.reading.is_none()) {
            self.read(winner);
        }
    }

    fn read(&mut self, key: Key) {
        let Some(known) = self.known.get_mut(&key) else { return };
        self.started_reads += 1;
        let number = self.started_reads;
        known.reading = Some(number);
        let (name, client) = (known.import.secret_name(), self.imports.client.clone());
        let (cluster, permits) = (known.import.spec.cluster_name.clone(), self.read_permits.clone());
        self.reads.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let result = secret::read(client, &key.0, &name, &cluster).await;
            (key, number, result)
        });
    }

    /// Waits for a read to end, and joins or updates its member. `None`: no Secret is being read.
    pub(super) async fn finish_read(&mut self) -> Option<()> {
        if let Ok((key, number, result)) = self.reads.join_next().await? {
            self.handle_read(&key, number, result);
        }
        Some(())
    }

    fn handle_read(&mut self, key: &Key, number: u64, result: ReadResult) {
        let Some(known) = self.known.get_mut(key).filter(|known| known.reading == Some(number)) else {
            return;
        };
        known.reading = None;
        let import = &known.import;
        let problem = match result {
            Err(error) if import.failure_message().is_some() => Some(error.with_failure_message(import)),
            Err(error) => Some(error),
            Ok((config, uid)) => match &known.member {
                Some(joined) if joined.uid == uid => joined.live.update(config).err(),
                _ => {
                    // A member is one cluster, so another cluster is another member.
                    if let Some(joined) = known.member.take() {
                        leave(&self.set, joined, key);
                    }
                    match join(&self.imports, &self.set, known, config, uid) {
                        Ok(joined) => {
                            known.member = Some(joined);
                            None
                        }
                        Err(error) => Some(error),
                    }
                }
            },
        };
        known.set_problem(key, problem.map(|error| error.to_string()));
    }

    /// Reads the Secrets of imports that could not join.
    pub(super) fn retry_failed(&mut self) {
        if !self.reads.is_empty() {
            return;
        }
        let has_failed = |(key, known): &(&Key, &Known)| {
            known.problem.is_some() && self.names.winner(&known.name) == Some(*key)
        };
        let keys: Vec<_> = self.known.iter().filter(has_failed).map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| self.read(key));
    }

    fn remove(&mut self, key: &Key) {
        let Some(known) = self.known.remove(key) else { return };
        if let Some(joined) = known.member {
            leave(&self.set, joined, key);
        }
        self.names.remove(&known.name, &Candidate::of(&known.import));
        self.assign(&known.name);
    }

    /// Logs the first of consecutive errors.
    pub(super) fn log_watch_error(&mut self, error: &watcher::Error) {
        if !std::mem::replace(&mut self.is_interrupted, true) {
            let namespace = self.imports.namespace.as_deref().unwrap_or("all namespaces");
            let error = error_message(error);
            warn!(namespace, error, "can't watch imports; retrying, and keeping all members");
        }
    }
}

impl Known {
    /// Records a problem. Logs it if it is new.
    fn set_problem(&mut self, key: &Key, problem: Option<String>) {
        if problem.is_some() && problem != self.problem {
            let (import, problem) = (format!("{}/{}", key.0, key.1), problem.as_deref());
            warn!(import, problem, "cluster of import can't join; retrying");
        }
        self.problem = problem;
    }
}

/// The service account that is imported.
fn identity(import: &ServiceAccountImport) -> [&str; 3] {
    [&import.spec.cluster_name, &import.spec.namespace, &import.spec.name]
}

/// Changes when the importer writes the Secret.
fn secret_version(import: &ServiceAccountImport) -> impl PartialEq + use<> {
    let status = import.status.as_ref();
    let times = status.map(|status| (status.expiration_time.clone(), status.refresh_time.clone()));
    (import.uid(), import.secret_name(), times)
}

fn join(
    imports: &Imports,
    set: &Set,
    known: &Known,
    config: kube::Config,
    uid: Option<String>,
) -> Result<Joined, ConfigError> {
    let (import, name) = (&known.import, known.name.clone());
    let (namespace, secret) = (import.namespace().unwrap_or_default(), import.secret_name());
    let origin = secret::origin(&imports.client, &namespace, &secret, uid.clone());
    let live = LiveConfig::new(origin, config)?;
    let new = NewMember {
        verified_uid: uid.clone(),
        import: Some(import.clone()),
        ..NewMember::new(name.clone(), live.clone())
    };
    let Some(member) = set.join(new) else { return Err(ConfigError::DuplicateName(name.to_string())) };
    info!(cluster = &*name, import = format!("{namespace}/{}", import.name_any()), "cluster joined");
    Ok(Joined { member, live, uid })
}

fn leave(set: &Set, joined: Joined, key: &Key) {
    info!(cluster = &**joined.member.name(), import = format!("{}/{}", key.0, key.1), "cluster left");
    set.leave(&joined.member);
}
