//! Command-line flags.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// How the API server reaches this process.
#[derive(Clone, Debug, clap::Args)]
pub struct EndpointArgs {
    /// Serve logs, exec, attach and port-forward over HTTPS at this address; port 0 selects a free port. The default
    /// port is not 10250, which the kubelet has where the launcher runs in the node's network
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:10350")]
    pub endpoint_address: SocketAddr,

    /// The address at which API servers reach the launcher; virtual nodes have it as their InternalIP
    #[arg(long, value_name = "IP", env = "POD_IP")]
    pub node_address: IpAddr,

    /// Serve the certificate in this file (PEM, with intermediates) instead of a self-signed one; the file is reread
    /// every 10 seconds. Needed where the API server has the flag --kubelet-certificate-authority
    #[arg(long, value_name = "FILE", requires = "endpoint_key")]
    pub endpoint_certificate: Option<PathBuf>,

    /// Use the private key in this file (PEM)
    #[arg(long, value_name = "FILE", requires = "endpoint_certificate")]
    pub endpoint_key: Option<PathBuf>,

    /// Verify client certificates by the authorities in this file (PEM), which is reread every minute [default: those
    /// in ConfigMap kube-system/extension-apiserver-authentication]
    #[arg(long, value_name = "FILE")]
    pub endpoint_client_ca: Option<PathBuf>,
}
