//! The way to an API server.

use std::fmt;

use super::url::without_credentials;

/// How to reach the API server of a source.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// URL of the API server.
    pub server: String,
    /// PEM bundle that its certificate is verified with. `None`: the roots of the operating system.
    pub ca_bundle: Option<String>,
    /// The name in the certificate, if it is not the URL's host.
    pub tls_server_name: Option<String>,
    /// HTTP or SOCKS5 proxy to connect through. It may have a password.
    pub proxy_url: Option<String>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("server", &without_credentials(&self.server))
            .field("ca_bundle", &self.ca_bundle)
            .field("tls_server_name", &self.tls_server_name)
            .field("proxy_url", &self.proxy_url.as_deref().map(without_credentials))
            .finish()
    }
}
