//! The flags that select a target.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;

use crate::cluster::Cluster;
use crate::cluster::kubeconfig::{ChosenContext, contexts};

/// Selects a target.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// Context of the target [default: the current one]
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(contexts))]
    context: Option<String>,

    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl TargetArgs {
    /// The selected context, and a connection to its cluster.
    pub(crate) async fn connect(&self) -> anyhow::Result<(ChosenContext, Cluster)> {
        let chosen = ChosenContext::load(self.kubeconfig.as_deref(), self.context.as_deref(), "--")?;
        let cluster = chosen.connect().await?;
        Ok((chosen, cluster))
    }
}
