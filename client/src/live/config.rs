//! A config that reloads from its source.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Config};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::current::Current;
use super::digest::{Digest, Endpoint};
use super::origin::{self, Origin};
use crate::error::ConfigError;

/// How long a request waits for a reload.
const RELOAD_WAIT: Duration = Duration::from_secs(3);

/// The deadline for reading a config, for example a Secret from an API server.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A config that reloads. Cheap to clone: all clones and their clients share the config. Configs that
/// differ only in their token, headers and default namespace share their connections.
///
/// It is reread while it is in use, and when the cluster refuses the token (401) or is unreachable. If rereading fails,
/// the current config stays in use.
#[derive(Clone)]
pub struct LiveConfig {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Origin,
    current: Mutex<Current>,
    /// When the last read began, whether or not it succeeded. Locked during a read, so that one read serves all
    /// requests.
    last_read: tokio::sync::Mutex<Option<Instant>>,
    /// That of the current config.
    endpoint: watch::Sender<Endpoint>,
    /// Why the last read failed. Each problem is logged once.
    problem: Mutex<Option<String>>,
}

impl LiveConfig {
    /// A config that does not change. Files that it names (a token, a client certificate) are reread.
    ///
    /// # Errors
    /// If no client can be built from it.
    pub fn fixed(config: Config) -> Result<Self, ConfigError> {
        let description = format!("a config for {}", config.cluster_url.host().unwrap_or_default());
        Self::from_fn(description, move || config.clone())
    }

    /// A config that the caller keeps up to date elsewhere, for example in a [`watch`] channel. `description` is for
    /// messages, such as `context c1`.
    ///
    /// `read` returns the latest config. It is called about once a second while the config is in use, and when the
    /// cluster refuses the token (401) or is unreachable, so it must be cheap, and must not block.
    ///
    /// # Errors
    /// If no client can be built from the first config.
    pub fn from_fn(
        description: impl Into<Arc<str>>,
        read: impl Fn() -> Config + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        Self::from_files(description, move || Ok(read()))
    }

    /// A config that `read` makes from a Secret. The Secret is reread when it may have changed.
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
            endpoint: watch::Sender::new(current.digest.endpoint),
            current: Mutex::new(current),
            last_read: Default::default(),
            problem: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Waits until there is a valid credential. Runs the credential plugin if there is none, without a deadline but the
    /// plugin's own: it may ask somebody to log in. Otherwise the first request does that.
    ///
    /// # Errors
    /// If the plugin fails: the error, or one of its causes, is a [`PluginError`](super::PluginError).
    pub async fn authenticate(&self) -> kube::Result<()> {
        self.fresh().client().await.map(drop).map_err(kube::Error::Service)
    }

    /// The current config.
    pub fn config(&self) -> Config {
        (*self.current().config).clone()
    }

    /// The default namespace: that of the service account.
    pub fn default_namespace(&self) -> String {
        self.current().config.default_namespace.clone()
    }

    /// Replaces the config with one that the caller has read.
    pub(crate) fn update(&self, config: Config) -> Result<(), ConfigError> {
        if self.shared.is_unchanged(&config) {
            return Ok(());
        }
        let new = Current::new(config);
        let new = new.map_err(|problem| ConfigError::unusable(&self.shared.origin, problem))?;
        self.shared.replace(new, None);
        Ok(())
    }

    /// Sends further requests over new connections, also those of other configs that share them. Opens none if that was
    /// done since `time`.
    pub(crate) fn reconnect(&self, time: Instant) {
        let mut current = self.shared.current();
        current.reconnect(time);
        // Requests that fail on the old connections may be sent once more.
        current.number += 1;
    }

    /// Changes when the address, certificate authority or default namespace changes.
    pub(crate) fn watch_endpoint(&self) -> watch::Receiver<Endpoint> {
        self.shared.endpoint.subscribe()
    }

    pub(super) fn current(&self) -> Current {
        self.shared.current().clone()
    }

    /// The config to use, reread if it is stale.
    pub(super) fn fresh(&self) -> Current {
        let current = self.current();
        if !self.shared.origin.is_stale(current.read_at.elapsed()) {
            return current;
        }
        let Ok(last_read) = self.shared.last_read.try_lock() else { return current };
        self.shared.current().read_at = Instant::now();
        if let Some(read) = self.shared.origin.read_files() {
            let updated = read.and_then(|config| self.update(config));
            self.shared.set_problem(updated.err().map(|error| error.to_string()));
            return self.current();
        }
        // Read in the background: the current config probably works. If it doesn't, `newer` waits for a read.
        drop(last_read);
        tokio::spawn(self.clone().read(Instant::now()));
        current
    }

    /// The config in use. If it is still `used`, rereads it, unless it was read after `sent`.
    pub(super) async fn newer(&self, used: &Current, sent: Instant) -> Current {
        if self.current().number == used.number {
            // Read in a task: if it takes longer than this request waits, later requests still benefit.
            let reload = tokio::spawn(self.clone().read(sent));
            drop(timeout(RELOAD_WAIT, reload).await);
        }
        self.current()
    }

    /// Rereads the config, unless it was read after `since`.
    async fn read(self, since: Instant) {
        let mut last_read = self.shared.last_read.lock().await;
        if last_read.is_some_and(|time| time > since) {
            return;
        }
        *last_read = Some(Instant::now());
        let problem = self.shared.read().await.err();
        self.shared.set_problem(problem.map(|error| error.to_string()));
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self) -> Result<(), ConfigError> {
        let used = self.current().number;
        let unusable = |problem| ConfigError::unusable(&self.origin, problem);
        let config = timeout(READ_DEADLINE, self.origin.read()).await;
        let config = config
            .unwrap_or_else(|_| Err(unusable(format!("no response within {}s", READ_DEADLINE.as_secs()))))?;
        if !self.is_unchanged(&config) {
            self.replace(Current::new(config).map_err(unusable)?, Some(used));
        }
        Ok(())
    }

    /// Whether the config that was just read is the one in use. Restarts the age of the one in use.
    fn is_unchanged(&self, config: &Config) -> bool {
        let mut current = self.current();
        current.read_at = Instant::now();
        current.digest == Digest::of(config)
    }

    /// Replaces the config in use. With `expected`, only if the config in use still has that number.
    fn replace(&self, mut new: Current, expected: Option<u64>) {
        let endpoint = new.digest.endpoint;
        let mut current = self.current();
        if expected.is_some_and(|number| number != current.number) {
            return;
        }
        new.number = current.number + 1;
        *current = new;
        drop(current);
        debug!(origin = %self.origin, "config replaced");
        self.endpoint.send_if_modified(|known| std::mem::replace(known, endpoint) != endpoint);
    }

    /// Records the problem of the last read. Logs it if it is new.
    fn set_problem(&self, problem: Option<String>) {
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != problem
            && let Some(problem) = &problem
        {
            warn!(origin = %self.origin, problem, "can't reload the config; the current one stays in use");
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::Uri;

    #[tokio::test(start_paused = true)]
    async fn config_of_a_function_follows_what_it_returns() {
        let config = |namespace: &str| {
            let mut config = Config::new(Uri::from_static("https://c2"));
            config.default_namespace = namespace.into();
            config
        };
        let (sender, receiver) = watch::channel(config("first"));
        let live = LiveConfig::from_fn("a test", move || receiver.borrow().clone()).unwrap();
        assert_eq!(live.default_namespace(), "first");
        sender.send_replace(config("second"));
        tokio::time::advance(Duration::from_secs(2)).await;
        live.fresh();
        assert_eq!(live.default_namespace(), "second");
    }
}
