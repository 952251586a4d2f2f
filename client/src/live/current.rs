//! The config in use, and its client.

use std::sync::{Arc, LazyLock};

use http::HeaderValue;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use secrecy::ExposeSecret;
use tokio::time::{Duration, Instant, timeout};

use super::digest::Digest;
use super::error_message::error_message;

/// How long a credential plugin may run. It may ask somebody to log in.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(30);

/// A client that is built on first use, because building it needs a tokio runtime.
type LazyClient = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

/// The config in use.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    pub(super) digest: Digest,
    /// Increases with each replacement.
    pub(super) number: u64,
    pub(super) read_at: Instant,
    client: Arc<LazyClient>,
}

impl Current {
    /// Blocks while a credential plugin runs, if the config has one.
    pub(super) fn new(config: Config) -> Result<Self, String> {
        validate(&config)?;
        let mut without_retries = config.clone();
        // The transport retries.
        without_retries.default_retry = false;
        let builder = ClientBuilder::try_from(without_retries).map_err(|error| error_message(&error))?;
        Ok(Self {
            digest: Digest::of(&config),
            config: Arc::new(config),
            number: 0,
            read_at: Instant::now(),
            client: Arc::new(LazyLock::new(Box::new(move || builder.build()))),
        })
    }

    /// Like [`Self::new`], but does not block the runtime while the plugin runs.
    pub(super) async fn new_async(config: Config) -> Result<Self, String> {
        if config.auth_info.exec.is_none() {
            return Self::new(config);
        }
        let current = timeout(PLUGIN_DEADLINE, tokio::task::spawn_blocking(move || Self::new(config))).await;
        match current {
            Ok(current) => current.unwrap_or_else(|_| Err("its credential plugin can't be used".into())),
            Err(_) => {
                Err(format!("its credential plugin did not finish within {}s", PLUGIN_DEADLINE.as_secs()))
            }
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

/// Rejects configs that kube would panic on later.
fn validate(config: &Config) -> Result<(), String> {
    let url = &config.cluster_url;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err("its server is not a URL with https:// and a host".into());
    }
    let token = config.auth_info.token.as_ref();
    if token.is_some_and(|token| HeaderValue::from_str(token.expose_secret()).is_err()) {
        return Err("its token has invalid characters".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://c2:6443", "t0ken", true)]
    #[case("http://127.0.0.1", "t0ken", true)]
    #[case("c2:6443", "t0ken", false)]
    #[case("/path", "t0ken", false)]
    #[case("https://c2", "t0\nken", false)]
    fn configs_that_kube_would_panic_on_are_errors(
        #[case] server: &str,
        #[case] token: &str,
        #[case] is_valid: bool,
    ) {
        let mut config = Config::new(server.parse().unwrap());
        config.auth_info.token = Some(token.to_owned().into());
        match Current::new(config) {
            Ok(_) => assert!(is_valid),
            Err(problem) => assert!(!is_valid && !problem.contains("t0"), "{problem}"),
        }
    }
}
