//! The cluster of a binary: that of a kubeconfig if one is set, otherwise that of its pod.

use std::path::PathBuf;

use anyhow::Context;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::deadline::set_timeouts;

/// Selects the cluster.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClusterArgs {
    /// Use this kubeconfig file, to run outside the cluster [default: KUBECONFIG; in a pod, its service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Use this context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl ClusterArgs {
    /// The client config, with the timeouts of [`set_timeouts`].
    ///
    /// # Errors
    /// If the kubeconfig or the context can't be loaded, or if none is given outside a pod.
    pub async fn config(&self) -> anyhow::Result<Config> {
        let mut config = self.load().await?;
        set_timeouts(&mut config);
        Ok(config)
    }

    async fn load(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        if let Some(path) = &self.kubeconfig {
            let file = Kubeconfig::read_from(path)?;
            return Config::from_custom_kubeconfig(file, &options)
                .await
                .with_context(|| format!("kubeconfig {}", path.display()));
        }
        if self.context.is_some() || std::env::var_os("KUBECONFIG").is_some() {
            return Config::from_kubeconfig(&options).await.context("kubeconfig from KUBECONFIG");
        }
        Config::incluster().context("not running in a pod: set --kubeconfig or KUBECONFIG")
    }
}
