//! The one TLS stack: rustls on aws-lc-rs.

/// Makes aws-lc-rs the provider of every TLS connection of this process. First thing in `main`;
/// a second call changes nothing.
pub fn install_provider() {
    // The only error is that there is a provider already: this one, as no other is linked.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
