//! The authorities of client certificates: those of the target's API server, or those in a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::files;

/// Where API servers publish the authorities that they verify client certificates by
/// (<https://kubernetes.io/docs/tasks/extend-kubernetes/setup-extension-api-server/>).
const CONFIG_MAP: &str = "extension-apiserver-authentication";
const NAMESPACE: &str = "kube-system";
const KEY: &str = "client-ca-file";

const INTERVAL: Duration = Duration::from_secs(60);

/// Least time between two reads, however many certificates are refused.
const LEAST_INTERVAL: Duration = Duration::from_secs(5);

/// The authorities, and where they come from.
pub(super) struct ClientAuthorities {
    source: Source,
    /// Notified when a client's certificate is refused.
    refused: Arc<Notify>,
    current: Vec<CertificateDer<'static>>,
    last_read: Instant,
    /// The last problem, which is logged once.
    problem: Option<String>,
}

enum Source {
    ConfigMap(Box<Api<ConfigMap>>),
    File(PathBuf),
}

impl ClientAuthorities {
    /// Reads the authorities for the first time. If that fails, callers need bearer tokens until it succeeds.
    pub(super) async fn read_from(client: Client, file: Option<PathBuf>, refused: Arc<Notify>) -> Self {
        let config_map = || Source::ConfigMap(Box::new(Api::namespaced(client, NAMESPACE)));
        let source = file.map_or_else(config_map, Source::File);
        let (current, last_read) = (Vec::new(), Instant::now());
        let mut authorities = Self { source, refused, current, last_read, problem: None };
        authorities.read().await;
        authorities
    }

    /// Those whose certificates are accepted. Empty: no certificate is accepted.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.current.iter().cloned());
        roots
    }

    /// Waits until the authorities change.
    pub(super) async fn changed(&mut self) {
        loop {
            let pause = if self.problem.is_some() { LEAST_INTERVAL } else { INTERVAL };
            tokio::select! {
                () = sleep_until(self.last_read + pause) => {}
                () = self.refused.notified() => sleep_until(self.last_read + LEAST_INTERVAL).await,
            }
            if self.read().await {
                return;
            }
        }
    }

    /// Reads them; returns whether they have changed. Keeps the current ones if that fails.
    async fn read(&mut self) -> bool {
        let result = self.source.read().await;
        self.last_read = Instant::now();
        match result {
            Ok(authorities) => {
                self.problem = None;
                if authorities == self.current {
                    return false;
                }
                info!(number = authorities.len(), "read the authorities of client certificates");
                self.current = authorities;
                true
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    warn!(problem, "can't read the authorities of client certificates");
                }
                self.problem = Some(problem);
                false
            }
        }
    }
}

impl Source {
    async fn read(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let (pem, place) = match self {
            Self::File(path) => {
                let file = path.clone();
                let read = tokio::task::spawn_blocking(move || files::read(&file)).await;
                let pem = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                (pem, path.display().to_string())
            }
            Self::ConfigMap(api) => {
                let place = format!("ConfigMap {NAMESPACE}/{CONFIG_MAP}, key {KEY}");
                let mend =
                    "bind the Role extension-apiserver-authentication-reader, or set --endpoint-client-ca";
                let map = with_deadline(api.get(CONFIG_MAP)).await;
                let map = map.map_err(|error| format!("{place}: {}; {mend}", errors::line(&error)))?;
                let pem = map.data.and_then(|mut data| data.remove(KEY));
                (pem.ok_or_else(|| format!("{place}: does not exist; set --endpoint-client-ca"))?, place)
            }
        };
        // Skips certificates that can't be read, as API servers do.
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        let usable = |der: &CertificateDer<'_>| RootCertStore::empty().add(der.clone()).is_ok();
        let certificates: Vec<_> = certificates.filter(usable).collect();
        if certificates.is_empty() { Err(format!("{place}: no certificate")) } else { Ok(certificates) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::fixtures::{Authority, Target};

    #[tokio::test(start_paused = true)]
    async fn authorities_are_read_again() {
        let (target, refused) = (Target::default(), Arc::new(Notify::new()));
        let mut authorities = ClientAuthorities::read_from(target.client(), None, refused.clone()).await;
        assert!(authorities.roots().is_empty() && authorities.problem.is_some());

        // One that can't be read is skipped.
        let (old, new) = (Authority::new("old").pem(), Authority::new("new").pem());
        let invalid = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        target.set(|state| state.authorities = format!("{invalid}{old}"));
        authorities.changed().await;
        assert_eq!((authorities.roots().len(), &authorities.problem), (1, &None));

        // A refused certificate does not wait for the next minute.
        let start = Instant::now();
        target.set(|state| state.authorities = format!("{old}{new}"));
        refused.notify_one();
        authorities.changed().await;
        assert_eq!((authorities.roots().len(), start.elapsed()), (2, LEAST_INTERVAL));

        // The last ones stay.
        target.set(|state| state.authorities.clear());
        assert!(!authorities.read().await);
        assert_eq!(authorities.roots().len(), 2);
    }
}
