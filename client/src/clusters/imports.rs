//! Members that are imports in an API server.
//!
//! Imports are watched. The Secret of an import is read when the import's status reports a new token. That needs the
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

use super::member::{Joining, Member};
use super::set::Set;
use crate::ServiceAccountImport;
use crate::config::read_secret;
use crate::contract;
use crate::error::ConfigError;
use crate::live::{LiveConfig, Origin};

/// The number of Secrets that are read at a time.
const AT_A_TIME: usize = 8;

/// The deadline for reading one of them.
const DEADLINE: Duration = Duration::from_secs(10);

/// The timeout of a watch, in seconds. It limits how long a connection that something on the way dropped goes unnoticed.
const WATCH: u32 = 60;

/// The interval at which imports that could not join are tried again.
const AGAIN: Duration = Duration::from_secs(30);

type Name = dyn Fn(&ServiceAccountImport) -> String + Send + Sync;

/// Selects the imports that become members.
#[derive(Clone)]
#[must_use]
pub struct Imports {
    client: Client,
    namespace: Option<String>,
    labels: Option<String>,
    name: Arc<Name>,
}

impl Imports {
    /// The imports of a namespace, by name. `client` is a client of the cluster that has them.
    pub fn of(client: &Client, namespace: &str) -> Self {
        let name = |import: &ServiceAccountImport| import.name_any();
        Self { client: client.clone(), namespace: Some(namespace.into()), labels: None, name: Arc::new(name) }
    }

    /// The imports of all namespaces. Their members are named `<namespace>.<name>`.
    pub fn of_all_namespaces(client: &Client) -> Self {
        let name = |import: &ServiceAccountImport| {
            format!("{}.{}", import.namespace().unwrap_or_default(), import.name_any())
        };
        Self { client: client.clone(), namespace: None, labels: None, name: Arc::new(name) }
    }

    /// Only imports with these labels, in the syntax of `kubectl get --selector`.
    pub fn labels(mut self, selector: &str) -> Self {
        self.labels = Some(selector.to_owned());
        self
    }

    /// Names the members otherwise, for example by `spec.clusterName` if each cluster has one import. If two imports get
    /// the same name, the first to be read wins.
    pub fn named(mut self, name: impl Fn(&ServiceAccountImport) -> String + Send + Sync + 'static) -> Self {
        self.name = Arc::new(name);
        self
    }

    /// Adds and removes members as the imports change. Calls `is_listed` once each import of the first list has joined or
    /// failed to.
    pub(super) async fn feed(self, set: Set, is_listed: impl FnOnce()) {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let config =
            watcher::Config { label_selector: self.labels.clone(), ..Default::default() }.timeout(WATCH);
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut feed = Feed::new(self, set);
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_listed = Some(is_listed);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => feed.hear(event),
                    Some(Err(error)) => feed.complain(&error),
                    None => return,
                },
                Some(read) = feed.reading.join_next() => if let Ok((key, number, read)) = read {
                    feed.take(&key, number, read);
                },
                _ = again.tick() => feed.try_again(),
            }
            if feed.is_listed
                && feed.reading.is_empty()
                && let Some(is_listed) = is_listed.take()
            {
                is_listed();
            }
        }
    }
}

/// An import, by namespace and name.
type Key = (String, String);

type Read = Result<(kube::Config, Option<String>), ConfigError>;

struct Feed {
    imports: Imports,
    set: Set,
    known: BTreeMap<Key, Known>,
    /// The imports in the list that is being received.
    listed: BTreeSet<Key>,
    is_listed: bool,
    reading: JoinSet<(Key, u64, Read)>,
    /// The number of reads that were started.
    begun: u64,
    places: Arc<Semaphore>,
    is_cut_off: bool,
}

struct Known {
    import: ServiceAccountImport,
    /// The number of the latest read. Results of earlier reads are ignored.
    number: u64,
    member: Option<Joined>,
    problem: Option<String>,
}

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
            reading: JoinSet::new(),
            begun: 0,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            is_cut_off: false,
        }
    }

    fn hear(&mut self, event: Event<ServiceAccountImport>) {
        self.is_cut_off = false;
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(import) => {
                self.listed.insert(key(&import));
                self.note(import);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<_> = self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                gone.iter().for_each(|key| self.forget(key));
                self.is_listed = true;
            }
            Event::Apply(import) => self.note(import),
            Event::Delete(import) => self.forget(&key(&import)),
        }
    }

    /// Records an import, and reads its Secret if the Secret may have changed.
    fn note(&mut self, mut import: ServiceAccountImport) {
        // They are as large as everything else together.
        import.metadata.managed_fields = None;
        let key = key(&import);
        let secret = |import: &ServiceAccountImport| {
            let status = import.status.as_ref();
            let times = status.map(|status| (status.expiration_time.clone(), status.refresh_time.clone()));
            (import.uid(), import.secret_name(), times)
        };
        let entry = self.known.get_mut(&key);
        let is_news = entry.as_ref().is_none_or(|known| secret(&known.import) != secret(&import));
        match entry {
            Some(known) => known.import = import,
            None => {
                drop(self.known.insert(key.clone(), Known { import, number: 0, member: None, problem: None }))
            }
        }
        if is_news {
            self.read(key);
        }
    }

    fn read(&mut self, key: Key) {
        let Some(known) = self.known.get_mut(&key) else { return };
        self.begun += 1;
        let number = self.begun;
        known.number = number;
        let secrets = Api::<Secret>::namespaced(self.imports.client.clone(), &key.0);
        let (name, places) = (known.import.secret_name(), self.places.clone());
        self.reading.spawn(async move {
            let _place = places.acquire_owned().await;
            let refused =
                |problem| ConfigError::Secret { namespace: key.0.clone(), name: name.clone(), problem };
            let read = match timeout(DEADLINE, secrets.get(&name)).await {
                Ok(Ok(secret)) => match read_secret(&secret) {
                    Ok(config) => Ok((config, cluster_uid(&secret).map(str::to_owned))),
                    Err(error) => Err(refused(error.into())),
                },
                Ok(Err(error)) => Err(refused(error.into())),
                Err(elapsed) => Err(refused(elapsed.into())),
            };
            (key, number, read)
        });
    }

    fn take(&mut self, key: &Key, number: u64, read: Read) {
        let Some(known) = self.known.get_mut(key).filter(|known| known.number == number) else { return };
        let import = &known.import;
        let problem = match read {
            Err(error) if import.says().is_some() => Some(error.explained(import)),
            Err(error) => Some(error),
            Ok((config, uid)) => match &known.member {
                Some(joined) if joined.uid == uid => joined.live.take(config).err(),
                _ => {
                    // A member stands for one cluster, so another cluster is another member.
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
            warn!(import, problem, "can't be taken as a member as it is now; it is tried again");
        }
        known.problem = problem;
    }

    fn try_again(&mut self) {
        if !self.reading.is_empty() {
            return;
        }
        let unhappy = |(_, known): &(&Key, &Known)| known.problem.is_some();
        let keys: Vec<_> = self.known.iter().filter(unhappy).map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| self.read(key));
    }

    fn forget(&mut self, key: &Key) {
        if let Some(joined) = self.known.remove(key).and_then(|known| known.member) {
            leave(&self.set, joined, key);
        }
    }

    fn complain(&mut self, error: &watcher::Error) {
        if !std::mem::replace(&mut self.is_cut_off, true) {
            let namespace = self.imports.namespace.as_deref().unwrap_or("all namespaces");
            warn!(namespace, %error, "can't watch imports; it is tried again, and all members stay");
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
    let is_of = uid.clone();
    let read = move |secret: &Secret| match cluster_uid(secret) == is_of.as_deref() {
        true => Ok(read_secret(secret)?),
        // A member stands for one cluster. The feed replaces this member.
        false => Err("it is of another cluster now".into()),
    };
    let origin = Origin::secret(&imports.client, &namespace, &secret, Arc::new(read));
    let live = LiveConfig::new(origin, config)?;
    let name: Arc<str> = (imports.name)(import).into();
    let joining =
        Joining { name: name.clone(), access: live.clone().into(), is_local: false, uid: uid.clone() };
    let Some(member) = set.join(joining) else { return Err(ConfigError::SameName(name.to_string())) };
    info!(cluster = &*name, import = %ObjectRef::from_obj(import), "joined");
    Ok(Joined { member, live, uid })
}

fn leave(set: &Set, joined: Joined, key: &Key) {
    info!(cluster = &**joined.member.name(), import = format!("{}/{}", key.0, key.1), "left");
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
