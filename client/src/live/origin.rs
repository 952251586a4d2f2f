//! Where a config comes from, and how to read it again.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config};

use crate::error::ConfigError;

/// How old a config from files may get. Reading files is cheap.
const FILES_MAX_AGE: Duration = Duration::from_secs(1);

/// How old a config from a Secret may get.
const SECRET_MAX_AGE: Duration = Duration::from_secs(60);

/// The longest time to connect to a cluster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a config from a Secret.
type SecretReader = dyn Fn(&Secret) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// Where a config comes from, and how to read it again.
#[derive(Clone)]
pub(crate) struct Origin {
    /// For messages, such as `context c1`.
    description: Arc<str>,
    reader: Reader,
    /// How old the config may get before it is reread. `None`: somebody else observes changes.
    max_age: Option<Duration>,
}

#[derive(Clone)]
enum Reader {
    /// Reads files. This blocks, but only briefly.
    Files(Arc<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>),
    /// Sends a request to an API server.
    Api(Arc<dyn Fn() -> BoxFuture<'static, Result<Config, ConfigError>> + Send + Sync>),
}

impl Origin {
    /// `read` may return a config that names a token file.
    pub(super) fn files(
        description: impl Into<Arc<str>>,
        read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        let reader = Reader::Files(Arc::new(read));
        Self { description: description.into(), reader, max_age: Some(FILES_MAX_AGE) }
    }

    pub(crate) fn secret(client: &Client, namespace: &str, name: &str, read: Arc<SecretReader>) -> Self {
        let description = format!("Secret {namespace}/{name}").into();
        let (client, namespace, name) = (client.clone(), namespace.to_owned(), name.to_owned());
        let read = move || {
            let (client, read) = (client.clone(), read.clone());
            let (namespace, name) = (namespace.clone(), name.clone());
            async move {
                let api = Api::<Secret>::namespaced(client, &namespace);
                let config = match api.get(&name).await {
                    Ok(secret) => read(&secret),
                    Err(error) => Err(error.into()),
                };
                config.map_err(|problem| ConfigError::Secret { namespace, name, problem })
            }
            .boxed()
        };
        Self { description, reader: Reader::Api(Arc::new(read)), max_age: Some(SECRET_MAX_AGE) }
    }

    /// The caller observes changes, so the config is reread only when a request fails.
    pub(crate) fn observed(self) -> Self {
        Self { max_age: None, ..self }
    }

    /// Reads the config, including the token.
    pub(super) async fn read(&self) -> Result<Config, ConfigError> {
        match &self.reader {
            Reader::Files(read) => read_files(&**read),
            Reader::Api(read) => read().await.map(adjust),
        }
    }

    /// Reads the config if it comes from files. `None`: reading sends a request.
    pub(super) fn read_files(&self) -> Option<Result<Config, ConfigError>> {
        match &self.reader {
            Reader::Files(read) => Some(read_files(&**read)),
            Reader::Api(_) => None,
        }
    }

    /// Whether a config of this age must be reread.
    pub(super) fn is_stale(&self, age: Duration) -> bool {
        self.max_age.is_some_and(|max_age| age >= max_age)
    }
}

/// Reads a config, including the token.
pub(super) fn read_files(read: &dyn Fn() -> Result<Config, ConfigError>) -> Result<Config, ConfigError> {
    read().and_then(with_inline_token).map(adjust)
}

/// Limits the connect timeout, so that an unreachable cluster is noticed soon.
fn adjust(mut config: Config) -> Config {
    let timeout = config.connect_timeout.map_or(CONNECT_TIMEOUT, |timeout| timeout.min(CONNECT_TIMEOUT));
    config.connect_timeout = Some(timeout);
    // This config is reread as a whole, so kube must not reread the file.
    config.root_cert_file = None;
    config
}

/// Replaces the token file with the token: kube rereads the file only once a minute.
fn with_inline_token(mut config: Config) -> Result<Config, ConfigError> {
    if let Some(file) = config.auth_info.token_file.take() {
        let path = PathBuf::from(file);
        let token = std::fs::read_to_string(&path);
        let token = token.map_err(|source| ConfigError::Unreadable { path, source })?;
        config.auth_info.token = Some(token.trim_end().to_owned().into());
    }
    Ok(config)
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.description)
    }
}
