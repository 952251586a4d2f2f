//! Serves what the API server asks of a kubelet.

/// How the API server reaches this process.
#[derive(Clone, Debug, clap::Args)]
pub struct EndpointArgs {}
