//! Contexts of a kubeconfig.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kube::Config;
use kube::config::{Cluster, Kubeconfig};

use crate::error::ConfigError;
use crate::kubeconfig::proxy;
use crate::live::LiveConfig;

/// The contexts of a kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contexts {
    file: Option<PathBuf>,
}

impl Contexts {
    /// The contexts of the files that `KUBECONFIG` names, or of `~/.kube/config`.
    pub fn from_env() -> Self {
        Self::default()
    }

    /// The contexts of one file.
    pub fn from_file(file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()) }
    }

    /// Like [`super::context()`], from this kubeconfig.
    ///
    /// # Errors
    /// As for [`super::context()`].
    pub fn context(&self, name: Option<&str>) -> Result<LiveConfig, ConfigError> {
        let description = name.map_or("the current context".into(), |name| format!("context {name}"));
        let (contexts, name) = (self.clone(), name.map(str::to_owned));
        LiveConfig::from_files(description, move || contexts.read(name.as_deref()))
    }

    /// Like [`super::contexts`], from this kubeconfig.
    ///
    /// # Errors
    /// As for [`super::contexts`].
    pub fn contexts(&self) -> Result<BTreeMap<String, LiveConfig>, ConfigError> {
        self.names()?.into_iter().map(|name| self.context(Some(&name)).map(|config| (name, config))).collect()
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, ConfigError> {
        let kubeconfig = self.kubeconfig().map_err(|source| ConfigError::context(None, source))?;
        Ok(kubeconfig.contexts.into_iter().map(|named| named.name).collect())
    }

    fn read(&self, context: Option<&str>) -> Result<Config, ConfigError> {
        let unusable = |source| ConfigError::context(context, source);
        let kubeconfig = self.kubeconfig().map_err(unusable)?;
        let current_context = context.map(str::to_owned).or_else(|| kubeconfig.current_context.clone());
        let kubeconfig = Kubeconfig { current_context, ..kubeconfig };
        let proxy = current_cluster(&kubeconfig).and_then(|cluster| cluster.proxy_url.clone());
        let mut config = Config::try_from(kubeconfig).map_err(unusable)?;
        let proxy = proxy.as_deref().filter(|url| !url.is_empty());
        config.proxy_url = proxy::proxy_for(&config.cluster_url, proxy).map_err(|error| {
            ConfigError::Context { context: context.map(str::to_owned), problem: error.to_string() }
        })?;
        Ok(config)
    }

    fn kubeconfig(&self) -> Result<Kubeconfig, kube::config::KubeconfigError> {
        self.file.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from)
    }
}

fn current_cluster(kubeconfig: &Kubeconfig) -> Option<&Cluster> {
    let current = kubeconfig.current_context.as_deref()?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == current)?.context.as_ref()?;
    kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()
}
