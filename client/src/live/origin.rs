//! Where a config comes from.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config};

use crate::config::{ConfigError, Contexts, Mounts};

/// How old the content of files may get. Reading them is cheap.
const FILES: Duration = Duration::from_secs(1);

/// How old a Secret may get. A watch of imports notices changes earlier.
const SECRET: Duration = Duration::from_secs(60);

/// The connect timeout.
const CONNECT: Duration = Duration::from_secs(10);

/// Makes a config of a Secret.
pub(crate) type ReadSecret =
    Arc<dyn Fn(&Secret) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// Where a config comes from.
#[derive(Clone)]
pub(crate) enum Origin {
    /// An import that is mounted.
    Mount { mounts: Mounts, name: String },
    /// A Secret that an API server has.
    Secret { client: Client, namespace: String, name: String, read: ReadSecret },
    /// A context of a kubeconfig. `None`: the current context.
    Context { contexts: Contexts, context: Option<String> },
    /// The service account of the pod.
    InCluster,
    /// A value. Files that it names are re-read.
    Value(Box<Config>),
}

impl Origin {
    /// Reads the config, with the token itself in it.
    pub(crate) async fn read(&self) -> Result<Config, ConfigError> {
        match self {
            Self::Secret { client, namespace, name, read } => {
                let refused = |problem| ConfigError::Secret {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    problem,
                };
                let api = Api::<Secret>::namespaced(client.clone(), namespace);
                let secret = api.get(name).await.map_err(|error| refused(Box::new(error)))?;
                read(&secret).map(patient).map_err(refused)
            }
            files => files.read_files(),
        }
    }

    /// Like [`Self::read`], for origins that are files.
    pub(crate) fn read_files(&self) -> Result<Config, ConfigError> {
        let config = match self {
            Self::Mount { mounts, name } => return mounts.read(name).map(patient),
            Self::Context { contexts, context } => return contexts.read(context.as_deref()).map(patient),
            Self::InCluster => {
                Config::incluster().map_err(|source| ConfigError::InCluster(Box::new(source)))?
            }
            Self::Value(config) => (**config).clone(),
            Self::Secret { namespace, name, .. } => {
                let (namespace, name) = (namespace.clone(), name.clone());
                return Err(ConfigError::Secret {
                    namespace,
                    name,
                    problem: "it is on no file system".into(),
                });
            }
        };
        with_its_token(config).map(patient)
    }

    /// Whether reading takes a request.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }

    /// How old the config may get before it is re-read.
    pub(crate) fn is_stale_after(&self) -> Duration {
        if self.is_remote() { SECRET } else { FILES }
    }
}

/// Limits the connect timeout, so that an unreachable cluster is noticed soon.
fn patient(mut config: Config) -> Config {
    config.connect_timeout = Some(config.connect_timeout.map_or(CONNECT, |time| time.min(CONNECT)));
    // It is re-read with everything else.
    config.root_cert_file = None;
    config
}

/// Replaces the token's file with the token: kube re-reads the file only once a minute.
pub(crate) fn with_its_token(mut config: Config) -> Result<Config, ConfigError> {
    if let Some(file) = config.auth_info.token_file.take() {
        let path = PathBuf::from(file);
        let token = read_to_string(&path)?;
        config.auth_info.token = Some(token.trim_end().to_owned().into());
    }
    Ok(config)
}

fn read_to_string(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source: io::Error| ConfigError::Unreadable { path: path.into(), source })
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { name, .. } => write!(formatter, "mounted import {name}"),
            Self::Secret { namespace, name, .. } => write!(formatter, "Secret {namespace}/{name}"),
            Self::Context { context: Some(context), .. } => write!(formatter, "context {context}"),
            Self::Context { context: None, .. } => formatter.write_str("the current context"),
            Self::InCluster => formatter.write_str("the pod's service account"),
            Self::Value(config) => {
                write!(formatter, "a config for {}", config.cluster_url.host().unwrap_or_default())
            }
        }
    }
}
