//! The config in use, and its client.

use std::sync::{Arc, LazyLock};

use http::HeaderValue;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::digest::Digest;
use super::said::said;

/// A client that is built on first use: only then must there be a runtime.
type Connected = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

/// The config in use.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    pub(super) digest: Digest,
    /// Increases with each replacement.
    pub(super) number: u64,
    pub(super) read_at: Instant,
    client: Arc<Connected>,
}

impl Current {
    /// Blocks while a credential plugin runs, if there is one.
    pub(super) fn new(config: Config) -> Result<Self, String> {
        check(&config)?;
        let mut plain = config.clone();
        // The wire decides about retries.
        plain.default_retry = false;
        let builder = ClientBuilder::try_from(plain).map_err(|error| said(&error))?;
        Ok(Self {
            digest: Digest::of(&config),
            config: Arc::new(config),
            number: 0,
            read_at: Instant::now(),
            client: Arc::new(LazyLock::new(Box::new(move || builder.build()))),
        })
    }

    /// [`Self::new`], without blocking the runtime while the plugin runs.
    pub(super) async fn elsewhere(config: Config) -> Result<Self, String> {
        if config.auth_info.exec.is_none() {
            return Self::new(config);
        }
        let made = tokio::task::spawn_blocking(move || Self::new(config)).await;
        made.unwrap_or_else(|_| Err("its credential plugin can't be used".into()))
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

/// Refuses what kube would panic on later.
fn check(config: &Config) -> Result<(), String> {
    let url = &config.cluster_url;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err("its server is no URL that begins with https:// and has a host".into());
    }
    let token = config.auth_info.token.as_ref();
    if token.is_some_and(|token| HeaderValue::from_str(token.expose_secret()).is_err()) {
        return Err("its token has characters that no token has".into());
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
    fn what_kube_would_panic_on_is_an_error(
        #[case] server: &str,
        #[case] token: &str,
        #[case] is_good: bool,
    ) {
        let mut config = Config::new(server.parse().unwrap());
        config.auth_info.token = Some(token.to_owned().into());
        match Current::new(config) {
            Ok(_) => assert!(is_good),
            Err(problem) => assert!(!is_good && !problem.contains("t0"), "{problem}"),
        }
    }
}
