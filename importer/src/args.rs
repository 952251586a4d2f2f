//! The importer's command line.

use mcsa_runtime::cluster::ClusterArgs;
use mcsa_runtime::lease::LeaseArgs;
use mcsa_runtime::logs::LogArgs;
use mcsa_runtime::probes::ProbeArgs;

/// Keeps tokens of other clusters' service accounts fresh in the Secrets of this cluster.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "mcsa-importer", version)]
pub struct Args {
    /// The target: the cluster whose imports are served.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Leader election.
    #[command(flatten)]
    pub lease: LeaseArgs,

    /// Health and metrics.
    #[command(flatten)]
    pub probes: ProbeArgs,

    /// Logs.
    #[command(flatten)]
    pub logs: LogArgs,
}
