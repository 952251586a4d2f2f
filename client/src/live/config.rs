//! A config that remembers where it came from.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Config};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::current::Current;
use super::digest::Digest;
use super::origin::{self, Origin};
use crate::error::ConfigError;

/// How long a request waits for a reload.
const DEADLINE: Duration = Duration::from_secs(3);

/// The deadline for reading a config, such as a Secret from an API server.
const PATIENCE: Duration = Duration::from_secs(10);

/// A config that reloads. Cheap to clone: all clones and their clients share the config and its connections.
///
/// It is re-read while it is in use, and when the cluster refuses the token (401) or is unreachable. If re-reading
/// fails, the current config stays in use.
#[derive(Clone)]
pub struct LiveConfig {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    current: Mutex<Current>,
    /// Held during a read, so that one read serves all. Contains the time when the last read ended, if it failed or not.
    reading: tokio::sync::Mutex<Option<Instant>>,
    /// The digest of address, certificate authority and default namespace.
    way: watch::Sender<u64>,
    /// The problem of the last read, so that it is logged once.
    problem: Mutex<Option<String>>,
}

/// Why a config is re-read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    ItIsTime,
    /// The cluster did not accept the credential.
    ItWasRefused,
    /// The cluster could not be reached.
    NobodyWasThere,
}

impl LiveConfig {
    /// A config that does not change. Files that it names (a token, a client certificate) are read again.
    ///
    /// # Errors
    /// If no client can be built from it.
    pub fn fixed(config: Config) -> Result<Self, ConfigError> {
        let description = format!("a config for {}", config.cluster_url.host().unwrap_or_default());
        Self::from_files(description, move || Ok(config.clone()))
    }

    /// A config that `read` makes from a Secret. The Secret is re-read when it may have changed.
    ///
    /// `client` is a client of the cluster that has the Secret, and needs the right to `get` it. The error of `read`
    /// appears in messages, so it should not quote a value.
    ///
    /// # Errors
    /// If the Secret can't be read, or `read` fails.
    pub async fn from_secret<E>(
        client: &Client,
        namespace: &str,
        name: &str,
        read: impl Fn(&Secret) -> Result<Config, E> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let read = move |secret: &Secret| read(secret).map_err(Into::into);
        let origin = Origin::secret(client, namespace, name, Arc::new(read));
        let config = origin.read().await?;
        Self::new(origin, config)
    }

    /// A config that `read` reads from files, which must be cheap. It may name a token file.
    pub(crate) fn from_files(
        description: impl Into<Arc<str>>,
        read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let config = origin::read_files(&read)?;
        Self::new(Origin::files(description, read), config)
    }

    pub(crate) fn new(origin: Origin, config: Config) -> Result<Self, ConfigError> {
        let current = Current::new(config).map_err(|problem| ConfigError::unusable(&origin, problem))?;
        let shared = Shared {
            origin,
            way: watch::Sender::new(current.digest.way),
            current: Mutex::new(current),
            reading: Default::default(),
            problem: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The current config.
    pub fn config(&self) -> Config {
        (*self.current().config).clone()
    }

    /// The default namespace: that of the service account.
    pub fn default_namespace(&self) -> String {
        self.current().config.default_namespace.clone()
    }

    /// Uses a config that the caller has read.
    pub(crate) fn take(&self, config: Config) -> Result<(), ConfigError> {
        if self.shared.has(&config) {
            return Ok(());
        }
        let made = Current::new(config);
        let made = made.map_err(|problem| ConfigError::unusable(&self.shared.origin, problem))?;
        self.shared.replace(made, None);
        Ok(())
    }

    /// Sends further requests over new connections.
    pub(crate) async fn reconnect(&self) {
        let used = self.current();
        // If it can't be built now, the current one stays in use.
        if let Ok(made) = Current::elsewhere((*used.config).clone()).await {
            self.shared.replace(made, Some(used.number));
        }
    }

    /// Changes when the address, certificate authority or default namespace changes.
    pub(crate) fn watch_way(&self) -> watch::Receiver<u64> {
        self.shared.way.subscribe()
    }

    pub(super) fn current(&self) -> Current {
        self.shared.current().clone()
    }

    /// The config to use, re-read if it is stale.
    pub(super) fn fresh(&self) -> Current {
        let current = self.current();
        if current.read_at.elapsed() < self.shared.origin.max_age() {
            return current;
        }
        let Ok(reading) = self.shared.reading.try_lock() else { return current };
        self.shared.current().read_at = Instant::now();
        if let Some(read) = self.shared.origin.read_files() {
            let takes_a_plugin =
                |config: &Config| config.auth_info.exec.is_some() && !self.shared.has(config);
            if !read.as_ref().is_ok_and(takes_a_plugin) {
                let taken = read.and_then(|config| self.take(config));
                self.shared.complain(taken.err().map(|error| error.to_string()));
                return self.current();
            }
        }
        // In the background: the current config works, and if it doesn't, `newer` waits for a read.
        drop(reading);
        tokio::spawn(self.clone().read(Why::ItIsTime, Instant::now()));
        current
    }

    /// A config other than `used`, re-read if it was not since `sent`.
    pub(super) async fn newer(&self, used: &Current, sent: Instant, why: Why) -> Option<Current> {
        if self.current().number == used.number {
            // As a task: if it outlasts the deadline, later requests still benefit.
            let reading = tokio::spawn(self.clone().read(why, sent));
            drop(timeout(DEADLINE, reading).await);
        }
        Some(self.current()).filter(|current| current.number != used.number)
    }

    /// Reads it, unless that was done after `since`.
    async fn read(self, why: Why, since: Instant) {
        let mut tried = self.shared.reading.lock().await;
        if tried.is_some_and(|tried| tried > since) {
            return;
        }
        let problem = self.shared.read(why).await.err();
        self.shared.complain(problem.map(|error| error.to_string()));
        *tried = Some(Instant::now());
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, why: Why) -> Result<(), ConfigError> {
        let used = self.current().number;
        let unusable = |problem| ConfigError::unusable(&self.origin, problem);
        let config = timeout(PATIENCE, self.origin.read()).await;
        let config = config.unwrap_or_else(|_| Err(unusable("no answer in time".into())))?;
        // A plugin may return another credential although the config is the same.
        let is_worth_asking = why == Why::ItWasRefused && config.auth_info.exec.is_some();
        if !self.has(&config) || is_worth_asking {
            self.replace(Current::elsewhere(config).await.map_err(unusable)?, Some(used));
        }
        Ok(())
    }

    /// Whether this is the config in use.
    fn has(&self, config: &Config) -> bool {
        let mut current = self.current();
        current.read_at = Instant::now();
        current.digest == Digest::of(config)
    }

    /// Replaces the config in use. With `instead_of`, only if the config in use still has that number: a later one is
    /// newer.
    fn replace(&self, mut made: Current, instead_of: Option<u64>) {
        let way = made.digest.way;
        let mut current = self.current();
        if instead_of.is_some_and(|number| number != current.number) {
            return;
        }
        made.number = current.number + 1;
        *current = made;
        drop(current);
        debug!(origin = %self.origin, "another client is in use");
        self.way.send_if_modified(|known| std::mem::replace(known, way) != way);
    }

    fn complain(&self, problem: Option<String>) {
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != problem
            && let Some(problem) = &problem
        {
            warn!(origin = %self.origin, problem, "can't be read again; what is in use stays");
        }
        *known = problem;
    }
}

impl fmt::Debug for LiveConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current();
        formatter
            .debug_struct("LiveConfig")
            .field("origin", &self.shared.origin.to_string())
            .field("server", &current.config.cluster_url.host())
            .finish()
    }
}
