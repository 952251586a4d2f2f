//! The TLS config, which follows the serving certificate and the authorities of client certificates.

use std::convert::Infallible;
use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tracing::warn;

use super::certificate::CertificateProvider;
use super::client_authorities::ClientAuthorities;

/// Maintains the config.
pub(super) struct Tls {
    provider: CertificateProvider,
    authorities: ClientAuthorities,
    config: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    pub(super) fn new(
        provider: CertificateProvider,
        authorities: ClientAuthorities,
    ) -> Result<Self, VerifierBuilderError> {
        let config = config(provider.current(), authorities.roots())?;
        Ok(Self { provider, authorities, config: watch::Sender::new(Arc::new(config)) })
    }

    /// The config for new connections.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.config.subscribe()
    }

    /// Replaces the config when a part of it changes.
    pub(super) async fn maintain(mut self) -> Infallible {
        loop {
            tokio::select! {
                () = self.provider.changed() => {}
                () = self.authorities.changed() => {}
            }
            match config(self.provider.current(), self.authorities.roots()) {
                Ok(config) => drop(self.config.send_replace(Arc::new(config))),
                Err(error) => warn!(%error, "keeping the TLS config"),
            }
        }
    }
}

/// A config without authorities accepts no client certificates.
pub(super) fn config(
    certificate: &Arc<CertifiedKey>,
    roots: RootCertStore,
) -> Result<ServerConfig, VerifierBuilderError> {
    let builder = ServerConfig::builder();
    let builder = match roots.is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            // Who has no certificate may have a bearer token. Without hints, callers send the certificate that they
            // have, so a new authority is noticed when it is refused.
            let verifier = WebPkiClientVerifier::builder(roots.into());
            let verifier = verifier.allow_unauthenticated().clear_root_hint_subjects();
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.clone())));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would keep the certificate of the first one, even if its authority is no longer trusted.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
