//! The served certificate, and when to replace it.

use std::time::Duration;

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;
use crate::certificates::trust::TrustHistory;

/// Lifetime of the placeholder certificate, which no client trusts.
const PLACEHOLDER_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The certificate that a provider supplies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    pub certificate: Certificate,
    /// Authorities that the API server must trust; `None` if another client maintains the CA bundle.
    pub authorities: Option<Authorities>,
}

#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub certificate: Certificate,
    /// Authorities that the API server must trust while the certificate is served.
    pub signers: Authorities,
}

/// When to serve the desired certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Immediately, for this reason.
    Now(&'static str),
    /// When it has been trusted for long enough.
    After(Duration),
    /// It is not trusted yet.
    WhenTrusted,
}

/// Decides when to replace the served certificate. No request fails because of it: either all API servers accept the
/// new certificate, or they reject the served one anyway.
pub(crate) fn switch(
    served: Option<&Certificate>,
    desired: &Certificate,
    trust: &TrustHistory,
    now: Timestamp,
    instant: Instant,
) -> Switch {
    let Some(served) = served else { return Switch::Now("first certificate") };
    if trust.problem(served, now).is_some() {
        return Switch::Now("the API server does not trust the served certificate");
    }
    if trust.same_signer(served, desired, now) {
        return Switch::Now("signed by the same authority");
    }
    match trust.wait(desired, 1, now, instant) {
        Some(Duration::ZERO) => Switch::Now("trusted for long enough"),
        Some(wait) => Switch::After(wait),
        None => Switch::WhenTrusted,
    }
}

#[derive(Debug)]
pub(crate) struct Serving {
    tls: RustlsConfig,
    served: Option<Served>,
    expiry: watch::Sender<Option<Timestamp>>,
}

impl Serving {
    /// Serves a placeholder until there is a certificate, so that clients get a TLS error that explains the problem.
    pub(crate) fn placeholder(names: &[String]) -> anyhow::Result<Self> {
        let (placeholder, _) = Certificate::issue(names, PLACEHOLDER_LIFETIME, Timestamp::now())
            .with_context(|| format!("can't generate a certificate for {}", names.join(", ")))?;
        let tls = RustlsConfig::from_config(placeholder.config);
        Ok(Self { tls, served: None, expiry: watch::Sender::new(None) })
    }

    /// The server's TLS config, which follows the served certificate.
    pub(crate) fn tls(&self) -> RustlsConfig {
        self.tls.clone()
    }

    /// When the served certificate expires; `None` while the placeholder is served.
    pub(crate) fn expiry(&self) -> watch::Receiver<Option<Timestamp>> {
        self.expiry.subscribe()
    }

    pub(crate) fn served(&self) -> Option<&Served> {
        self.served.as_ref()
    }

    /// Serves the desired certificate if it is time; otherwise returns the wait, if known.
    pub(crate) fn update(
        &mut self,
        desired: &Desired,
        trust: &TrustHistory,
        now: Timestamp,
        instant: Instant,
    ) -> Option<Duration> {
        let served = self.served.as_ref().map(|served| &served.certificate);
        if served == Some(&desired.certificate) {
            return None;
        }
        match switch(served, &desired.certificate, trust, now, instant) {
            Switch::Now(reason) => {
                self.serve(desired, reason, trust, now);
                None
            }
            Switch::After(wait) => Some(wait),
            Switch::WhenTrusted => None,
        }
    }

    fn serve(&mut self, desired: &Desired, reason: &str, trust: &TrustHistory, now: Timestamp) {
        let certificate = &desired.certificate;
        let known = trust.trusted().union(&desired.authorities.clone().unwrap_or_default());
        let signers = certificate.signers(&known, now);
        let trusted = trust.trusted().len();
        info!(reason, expires = %certificate.end, trusted, "serving a new certificate");
        self.tls.reload_from_config(certificate.config.clone());
        self.expiry.send_replace(Some(certificate.end));
        self.served = Some(Served { certificate: certificate.clone(), signers });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::fixtures::{NOW, issue, issue_at, names};
    use jiff::SignedDuration;

    const OVERLAP: Duration = Duration::from_secs(60);

    #[test]
    fn certificate_is_replaced_when_trusted() {
        let ((old, its), (new, others)) = (issue(), issue());
        let mut trust = TrustHistory::new(OVERLAP);
        let start = Instant::now();
        let half = start + OVERLAP / 2;
        let switch =
            |trust: &TrustHistory, served, desired, instant| switch(served, desired, trust, NOW, instant);
        let now = |switch: &Switch| matches!(switch, Switch::Now(_));

        assert!(now(&switch(&trust, None, &new, start)), "nothing is served");
        assert!(now(&switch(&trust, Some(&old), &new, start)), "the served certificate is untrusted");
        trust.observe(&its, names(), start);
        assert_eq!(switch(&trust, Some(&old), &new, half), Switch::WhenTrusted);
        trust.observe(&its.clone().union(&others), names(), half);
        assert_eq!(switch(&trust, Some(&old), &new, half), Switch::After(OVERLAP));
        assert_eq!(switch(&trust, Some(&old), &new, start + OVERLAP), Switch::After(OVERLAP / 2));
        assert!(now(&switch(&trust, Some(&old), &new, half + OVERLAP)), "trusted for long enough");
        trust.observe(&others, names(), start);
        assert!(now(&switch(&trust, Some(&old), &new, start)), "the served certificate is no longer trusted");
    }

    #[test]
    fn expired_certificate_is_replaced_at_once() {
        let (old, its) = issue_at(NOW - SignedDuration::from_hours(91 * 24));
        let (new, _) = issue();
        let mut trust = TrustHistory::new(OVERLAP);
        trust.observe(&its, names(), Instant::now());
        assert!(matches!(switch(Some(&old), &new, &trust, NOW, Instant::now()), Switch::Now(_)));
    }
}
