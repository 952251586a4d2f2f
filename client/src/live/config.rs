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
use super::{Origin, Wire};
use crate::config::ConfigError;

/// How long reading anew may take, while a request waits for it.
const DEADLINE: Duration = Duration::from_secs(5);

/// A config that stays right. Cheap to clone: all clones, and all clients made of them, share what they know
/// and their connections.
///
/// It is read again while it is in use, and when a cluster refuses the token (401) or can't be reached; what
/// can't be read leaves the one in use as it is.
#[derive(Clone)]
pub struct LiveConfig {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    current: Mutex<Current>,
    /// Who reads holds it, so that one reads for all.
    reading: tokio::sync::Mutex<()>,
    /// The digest of where it leads.
    way: watch::Sender<u64>,
    /// What went wrong when it was last read, so that it is said once.
    problem: Mutex<Option<String>>,
}

/// Why a config is read again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    ItIsTime,
    ItWasRefused,
}

impl LiveConfig {
    /// A config that does not change. Files that it names (a token, a client certificate) are read again.
    ///
    /// # Errors
    /// When no client can be made of it.
    pub fn fixed(config: Config) -> Result<Self, ConfigError> {
        Self::of_files(Origin::Value(Box::new(config)))
    }

    /// A config made of a Secret by `read`, and made again when the Secret may have changed.
    ///
    /// `client` is one of the cluster that has the Secret, and needs the right to `get` it. The error of
    /// `read` is shown, and should quote no value.
    ///
    /// # Errors
    /// When the Secret can't be read, or nothing can be made of it.
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
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let origin = Origin::Secret { client: client.clone(), namespace, name, read: Arc::new(read) };
        let config = origin.read().await?;
        Self::new(origin, config)
    }

    pub(crate) fn of_files(origin: Origin) -> Result<Self, ConfigError> {
        let config = origin.read_files()?;
        Self::new(origin, config)
    }

    pub(crate) fn new(origin: Origin, config: Config) -> Result<Self, ConfigError> {
        let current = Current::new(config, 0).map_err(|error| ConfigError::unusable(&origin, error))?;
        let shared = Shared {
            origin,
            way: watch::Sender::new(current.digest.way),
            current: Mutex::new(current),
            reading: Default::default(),
            problem: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A client that works on when the config changes.
    pub fn client(&self) -> Client {
        Wire::new(self.clone(), None).into_client()
    }

    /// The config as it is now.
    pub fn config(&self) -> Config {
        (*self.current().config).clone()
    }

    /// The namespace to use where none is named: that of the service account.
    pub fn default_namespace(&self) -> String {
        self.current().config.default_namespace.clone()
    }

    /// Takes what somebody else has read.
    pub(crate) fn take(&self, config: Config) -> Result<(), ConfigError> {
        self.shared
            .take(config, Why::ItIsTime)
            .map_err(|error| ConfigError::unusable(&self.shared.origin, error))
    }

    /// Changes whenever the config leads elsewhere.
    pub(crate) fn watch_way(&self) -> watch::Receiver<u64> {
        self.shared.way.subscribe()
    }

    pub(super) fn current(&self) -> Current {
        self.shared.current().clone()
    }

    /// The one to use, read again if it is time to.
    pub(super) fn fresh(&self) -> Current {
        let current = self.current();
        if current.read_at.elapsed() < self.shared.origin.is_stale_after() {
            return current;
        }
        let Ok(reading) = self.shared.reading.try_lock() else { return current };
        if !self.shared.origin.is_remote() {
            self.shared.note(self.shared.origin.read_files(), Why::ItIsTime);
            return self.current();
        }
        // Nobody waits for it: what is in use works, and where it does not, `newer` is asked.
        drop(reading);
        self.shared.current().read_at = Instant::now();
        let live = self.clone();
        tokio::spawn(async move {
            let _reading = live.shared.reading.lock().await;
            live.shared.read(Why::ItIsTime).await;
        });
        current
    }

    /// Another one than was `used` since `sent`, if there is one.
    pub(super) async fn newer(&self, used: &Current, sent: Instant) -> Option<Current> {
        let _reading = self.shared.reading.lock().await;
        if self.current().number == used.number && self.current().read_at <= sent {
            self.shared.read(Why::ItWasRefused).await;
        }
        Some(self.current()).filter(|current| current.number != used.number)
    }
}

impl From<LiveConfig> for Client {
    fn from(live: LiveConfig) -> Self {
        live.client()
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, why: Why) {
        match timeout(DEADLINE, self.origin.read()).await {
            Ok(read) => self.note(read, why),
            Err(_) => self.complain(Some("no answer in time".into())),
        }
    }

    fn note(&self, read: Result<Config, ConfigError>, why: Why) {
        let taken = read.and_then(|config| {
            self.take(config, why).map_err(|error| ConfigError::unusable(&self.origin, error))
        });
        self.complain(taken.err().map(|error| error.to_string()));
    }

    fn take(&self, config: Config, why: Why) -> kube::Result<()> {
        let digest = Digest::of(&config);
        let mut current = self.current();
        current.read_at = Instant::now();
        // A plugin may have another credential where all else is the same.
        let is_worth_asking = why == Why::ItWasRefused && config.auth_info.exec.is_some();
        if current.digest == digest && !is_worth_asking {
            return Ok(());
        }
        *current = Current::new(config, current.number + 1)?;
        debug!(origin = %self.origin, "a new config is in use");
        drop(current);
        self.way.send_if_modified(|way| std::mem::replace(way, digest.way) != digest.way);
        Ok(())
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
            .field("server", &current.config.cluster_url)
            .finish()
    }
}
