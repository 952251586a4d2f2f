//! The config in use, and its client.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use jiff::Timestamp;
use kube::client::ClientBuilder;
use kube::config::ExecConfig;
use kube::{Client, Config};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tower::BoxError;

use super::connect::Pool;
use super::digest::Digest;
use super::error_message::error_message;
use super::plugin::PluginCredential;
use super::plugins;
use crate::kubeconfig::id_token;

/// The config in use.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    pub(super) digest: Digest,
    /// Increases with each replacement.
    pub(super) number: u64,
    pub(super) read_at: Instant,
    builder: Arc<Builder>,
}

/// Builds the client on first use: that needs a tokio runtime, and the credential of the plugin.
struct Builder {
    /// Without the plugin.
    config: Config,
    plugin: Option<ExecConfig>,
    built: Mutex<Option<Authenticated>>,
}

/// A client, and the plugin's credential that it sends.
#[derive(Clone)]
pub(super) struct Authenticated {
    pub(super) client: Client,
    pool: Arc<Pool>,
    credential: Option<Arc<PluginCredential>>,
}

impl Authenticated {
    /// Whether both send the same credential.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.credential, &other.credential) {
            (Some(credential), Some(other)) => Arc::ptr_eq(credential, other),
            (credential, other) => credential.is_none() && other.is_none(),
        }
    }
}

impl Current {
    /// Does not run the plugin.
    pub(super) fn new(config: Config) -> Result<Self, String> {
        let mut without_plugin = config.clone();
        let user = &mut without_plugin.auth_info;
        // As for client-go, a plugin is used if there is nothing else.
        let plugin = user.exec.take().filter(|_| user.token.is_none() && user.username.is_none());
        if let Some(provider) = user.auth_provider.take().filter(|_| user.token.is_none()) {
            let token = id_token(&provider, Timestamp::now()).map_err(|problem| problem.to_string())?;
            user.token = Some(token.into());
        }
        validate(&without_plugin)?;
        Ok(Self {
            digest: Digest::of(&config),
            config: Arc::new(config),
            number: 0,
            read_at: Instant::now(),
            builder: Arc::new(Builder { config: without_plugin, plugin, built: Mutex::default() }),
        })
    }

    /// A client with a valid credential. Waits for the plugin if there is none yet.
    pub(super) async fn client(&self) -> Result<Authenticated, BoxError> {
        let Builder { config, plugin, built } = &*self.builder;
        let credential = match plugin {
            Some(plugin) => Some(plugins::credential(plugin, config.disable_compression).await?),
            None => None,
        };
        let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &&Authenticated| match (&known.credential, &credential) {
            (Some(known), Some(credential)) => Arc::ptr_eq(known, credential),
            (known, credential) => known.is_none() && credential.is_none(),
        };
        if let Some(known) = built.as_ref().filter(is_it) {
            return Ok(known.clone());
        }
        let config = with_credential(config, credential.as_deref());
        let pool = Pool::of(&config)?;
        let client = pool.client(&config)?;
        Ok(built.insert(Authenticated { client, pool, credential }).clone())
    }

    /// Sends further requests over new connections, unless that was done since `time`.
    pub(super) fn reconnect(&self, time: Instant) {
        let built = self.builder.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = &*built {
            built.pool.reconnect(time);
        }
    }

    /// The cluster refused the credential: the plugin runs again for the next client.
    pub(super) fn refused(&self, used: &Authenticated) {
        if let (Some(plugin), Some(credential)) = (&self.builder.plugin, &used.credential) {
            plugins::refused(plugin, credential);
        }
    }
}

fn with_credential(config: &Config, credential: Option<&PluginCredential>) -> Config {
    let mut config = config.clone();
    if let Some(credential) = credential {
        config.auth_info.token = credential.token.clone();
        if let Some((certificate, key)) = &credential.identity {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(key.expose_secret()).into());
        }
    }
    config
}

/// Rejects configs for which no client can be built, and those that kube would panic on later.
fn validate(config: &Config) -> Result<(), String> {
    let url = &config.cluster_url;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err("its server is not a URL with https:// and a host".into());
    }
    let token = config.auth_info.token.as_ref();
    if token.is_some_and(|token| HeaderValue::from_str(token.expose_secret()).is_err()) {
        return Err("its token has invalid characters".into());
    }
    // This also installs kube's crypto provider. Without one, rustls panics if the program has several.
    ClientBuilder::try_from(config.clone()).map(drop).map_err(|error| error_message(&error))
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
