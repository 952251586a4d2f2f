//! The one TLS stack: rustls on aws-lc-rs.

/// Makes aws-lc-rs the TLS provider of this process. Call it first in `main`; a second call does nothing.
pub fn install_provider() {
    // Fails only if a provider is already installed. That must be this one, because no other is linked.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
