//! Members from imports in an API server.
//!
//! Imports are watched. The Secret of an import is read when the import's status reports a new token. This needs the
//! rights to `list` and `watch` imports and to `get` their Secrets, but not to list Secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{info, warn};

use super::member::{Member, NewMember};
use super::set::Set;
use crate::ServiceAccountImport;
use crate::config::read_secret;
use crate::contract;
use crate::error::ConfigError;
use crate::live::{LiveConfig, Origin};

/// The most Secrets that are read at a time.
const CONCURRENT_READS: usize = 8;

/// The deadline for reading a Secret.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// The timeout of a watch, in seconds. It limits how long a dead connection goes unnoticed.
const WATCH_TIMEOUT: u32 = 60;

/// The interval of retries for imports that could not join.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

type Naming = dyn Fn(&ServiceAccountImport) -> String + Send + Sync;

/// Selects the imports that become members.
#[derive(Clone)]
#[must_use]
pub struct Imports {
    client: Client,
    namespace: Option<String>,
    labels: Option<String>,
    name: Arc<Naming>,
}

impl Imports {
    /// The imports of a namespace. `client` is a client of the cluster that has them. Members have the names of their
    /// imports.
    pub fn in_namespace(client: &Client, namespace: &str) -> Self {
        let name = |import: &ServiceAccountImport| import.name_any();
        Self { client: client.clone(), namespace: Some(namespace.into()), labels: None, name: Arc::new(name) }
    }

    /// The imports of all namespaces. Their members are named `<namespace>.<name>`.
    pub fn in_all_namespaces(client: &Client) -> Self {
        let name = |import: &ServiceAccountImport| {
            format!("{}.{}", import.namespace().unwrap_or_default(), import.name_any())
        };
        Self { client: client.clone(), namespace: None, labels: None, name: Arc::new(name) }
    }

    /// Selects imports by labels, in the syntax of `kubectl get --selector`.
    pub fn labels(mut self, selector: &str) -> Self {
        self.labels = Some(selector.to_owned());
        self
    }

    /// Changes how members are named, for example by `spec.clusterName` if each cluster has one import. If two imports
    /// get the same name, the first to be read wins.
    pub fn named(mut self, name: impl Fn(&ServiceAccountImport) -> String + Send + Sync + 'static) -> Self {
        self.name = Arc::new(name);
        self
    }

    /// Adds and removes members as the imports change. Calls `on_synced` once each import of the first list has joined
    /// or failed to.
    pub(super) async fn watch(self, set: Set, on_synced: impl FnOnce()) {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let config = watcher::Config { label_selector: self.labels.clone(), ..Default::default() }
            .timeout(WATCH_TIMEOUT);
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut feed = Feed::new(self, set);
        let mut retry = tokio::time::interval(RETRY_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut on_synced = Some(on_synced);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => feed.handle(event),
                    Some(Err(error)) => feed.log_watch_error(&error),
                    None => return,
                },
                Some(read) = feed.reads.join_next() => if let Ok((key, number, result)) = read {
                    feed.finish_read(&key, number, result);
                },
                _ = retry.tick() => feed.retry_failed(),
            }
            if feed.is_listed
                && feed.reads.is_empty()
                && let Some(on_synced) = on_synced.take()
            {
                on_synced();
            }
        }
    }
}

/// An import, by namespace and name.
type Key = (String, String);

/// A config, and the UID of its cluster.
type ReadResult = Result<(kube::Config, Option<String>), ConfigError>;

/// Feeds the set with the imports of a watch.
struct Feed {
    imports: Imports,
    set: Set,
    known: BTreeMap<Key, Known>,
    /// The imports received so far of a list that is not complete.
    listed: BTreeSet<Key>,
    /// Whether the first list is complete.
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
    import: ServiceAccountImport,
    /// The number of the latest read. Results of earlier reads are ignored.
    number: u64,
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
    fn new(imports: Imports, set: Set) -> Self {
        Self {
            imports,
            set,
            known: BTreeMap::new(),
            listed: BTreeSet::new(),
            is_listed: false,
            reads: JoinSet::new(),
            started_reads: 0,
            read_permits: Arc::new(Semaphore::new(CONCURRENT_READS)),
            is_interrupted: false,
        }
    }

    fn handle(&mut self, event: Event<ServiceAccountImport>) {
        self.is_interrupted = false;
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(import) => {
                self.listed.insert(key(&import));
                self.apply(import);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let deleted: Vec<_> =
                    self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                deleted.iter().for_each(|key| self.remove(key));
                self.is_listed = true;
            }
            Event::Apply(import) => self.apply(import),
            Event::Delete(import) => self.remove(&key(&import)),
        }
    }

    /// Records an import. Reads its Secret if the Secret may have changed.
    fn apply(&mut self, mut import: ServiceAccountImport) {
        // Managed fields are as large as all other fields together.
        import.metadata.managed_fields = None;
        let key = key(&import);
        let secret = |import: &ServiceAccountImport| {
            let status = import.status.as_ref();
            let times = status.map(|status| (status.expiration_time.clone(), status.refresh_time.clone()));
            (import.uid(), import.secret_name(), times)
        };
        let entry = self.known.get_mut(&key);
        let is_changed = entry.as_ref().is_none_or(|known| secret(&known.import) != secret(&import));
        match entry {
            Some(known) => known.import = import,
            None => {
                drop(self.known.insert(key.clone(), Known { import, number: 0, member: None, problem: None }))
            }
        }
        if is_changed {
            self.read(key);
        }
    }

    fn read(&mut self, key: Key) {
        let Some(known) = self.known.get_mut(&key) else { return };
        self.started_reads += 1;
        let number = self.started_reads;
        known.number = number;
        let secrets = Api::<Secret>::namespaced(self.imports.client.clone(), &key.0);
        let (name, permits) = (known.import.secret_name(), self.read_permits.clone());
        self.reads.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let failed =
                |problem| ConfigError::Secret { namespace: key.0.clone(), name: name.clone(), problem };
            let result = match timeout(READ_DEADLINE, secrets.get(&name)).await {
                Ok(Ok(secret)) => match read_secret(&secret) {
                    Ok(config) => Ok((config, cluster_uid(&secret).map(str::to_owned))),
                    Err(error) => Err(failed(error.into())),
                },
                Ok(Err(error)) => Err(failed(error.into())),
                Err(elapsed) => Err(failed(elapsed.into())),
            };
            (key, number, result)
        });
    }

    fn finish_read(&mut self, key: &Key, number: u64, result: ReadResult) {
        let Some(known) = self.known.get_mut(key).filter(|known| known.number == number) else { return };
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
                    match join(&self.imports, &self.set, import, config, uid) {
                        Ok(joined) => {
                            known.member = Some(joined);
                            None
                        }
                        Err(error) => Some(error),
                    }
                }
            },
        };
        let problem = problem.map(|error| error.to_string());
        if problem.is_some() && problem != known.problem {
            let (import, problem) = (format!("{}/{}", key.0, key.1), problem.as_deref());
            warn!(import, problem, "cluster of import can't join; retrying");
        }
        known.problem = problem;
    }

    fn retry_failed(&mut self) {
        if !self.reads.is_empty() {
            return;
        }
        let failed = |(_, known): &(&Key, &Known)| known.problem.is_some();
        let keys: Vec<_> = self.known.iter().filter(failed).map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| self.read(key));
    }

    fn remove(&mut self, key: &Key) {
        if let Some(joined) = self.known.remove(key).and_then(|known| known.member) {
            leave(&self.set, joined, key);
        }
    }

    /// Logs the first of consecutive errors.
    fn log_watch_error(&mut self, error: &watcher::Error) {
        if !std::mem::replace(&mut self.is_interrupted, true) {
            let namespace = self.imports.namespace.as_deref().unwrap_or("all namespaces");
            warn!(namespace, %error, "can't watch imports; retrying, and keeping all members");
        }
    }
}

fn join(
    imports: &Imports,
    set: &Set,
    import: &ServiceAccountImport,
    config: kube::Config,
    uid: Option<String>,
) -> Result<Joined, ConfigError> {
    let (namespace, secret) = (import.namespace().unwrap_or_default(), import.secret_name());
    let expected_uid = uid.clone();
    let read = move |secret: &Secret| match cluster_uid(secret) == expected_uid.as_deref() {
        true => Ok(read_secret(secret)?),
        // A member is one cluster. The watch replaces this member.
        false => Err("it is for another cluster now".into()),
    };
    let origin = Origin::secret(&imports.client, &namespace, &secret, Arc::new(read));
    let live = LiveConfig::new(origin, config)?;
    let name: Arc<str> = (imports.name)(import).into();
    let new = NewMember {
        name: name.clone(),
        access: live.clone().into(),
        is_local: false,
        verified_uid: uid.clone(),
    };
    let Some(member) = set.join(new) else { return Err(ConfigError::DuplicateName(name.to_string())) };
    info!(cluster = &*name, import = %ObjectRef::from_obj(import), "cluster joined");
    Ok(Joined { member, live, uid })
}

fn leave(set: &Set, joined: Joined, key: &Key) {
    info!(cluster = &**joined.member.name(), import = format!("{}/{}", key.0, key.1), "cluster left");
    set.leave(&joined.member);
}

/// The UID of the source, which the importer verified.
fn cluster_uid(secret: &Secret) -> Option<&str> {
    secret.annotations().get(contract::CLUSTER_UID).map(String::as_str)
}

fn key(import: &ServiceAccountImport) -> Key {
    (import.namespace().unwrap_or_default(), import.name_any())
}

impl fmt::Debug for Imports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, labels, .. } = self;
        formatter.debug_struct("Imports").field("namespace", namespace).field("labels", labels).finish()
    }
}
