//! The launcher's command line.

use mcsa_runtime::argo::ArgoArgs;
use mcsa_runtime::cluster::ClusterArgs;
use mcsa_runtime::lease::LeaseArgs;
use mcsa_runtime::logs::LogArgs;
use mcsa_runtime::probes::ProbeArgs;

use crate::endpoint::EndpointArgs;

/// Run pods of this cluster in other clusters, each of which is a virtual node
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "mcsa-launcher", version)]
pub struct Args {
    /// The target: the cluster whose pods run elsewhere
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Secrets of Argo Workflows
    #[command(flatten)]
    pub argo: ArgoArgs,

    /// Also use Argo's Secrets that disable the verification of certificates: anyone on the network path to such a cluster
    /// can read their credentials
    #[arg(long, env = "ARGO_ALLOW_INSECURE")]
    pub argo_allow_insecure: bool,

    /// Logs and exec of pods
    #[command(flatten)]
    pub endpoint: EndpointArgs,

    /// Leader election
    #[command(flatten)]
    pub lease: LeaseArgs,

    /// Health and metrics
    #[command(flatten)]
    pub probes: ProbeArgs,

    /// Logs
    #[command(flatten)]
    pub logs: LogArgs,
}
