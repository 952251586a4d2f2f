//! The cluster that a binary works in: its own when it runs in a pod, a kubeconfig's elsewhere.

use std::path::PathBuf;

use anyhow::Context;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::deadline::harden;

/// Which cluster to work in.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClusterArgs {
    /// Kubeconfig file, for running outside the cluster [default: KUBECONFIG; in a pod, its service account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context in the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl ClusterArgs {
    /// The config of that cluster, for clients that find out soon that nobody answers.
    ///
    /// # Errors
    /// When the kubeconfig or the context can't be loaded, or there is neither and this is no pod.
    pub async fn config(&self) -> anyhow::Result<Config> {
        let mut config = self.load().await?;
        harden(&mut config);
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
        Config::incluster().context("this is no pod, and there is neither --kubeconfig nor KUBECONFIG")
    }
}
