//! The served certificate, and when to replace it.

use std::time::Duration;

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::certificates::authorities::Authorities;
use crate::certificates::authority::Authority;
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
    /// When it has been trusted for long enough; `None` if it is not trusted yet.
    After(Option<Duration>),
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
    match trust.wait(desired, now, instant) {
        Some(Duration::ZERO) => Switch::Now("trusted for long enough"),
        wait => Switch::After(wait),
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
        let now = Timestamp::now();
        let placeholder = Authority::generate(now)
            .and_then(|authority| authority.issue(names, PLACEHOLDER_LIFETIME, now))
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
            Switch::After(wait) => wait,
        }
    }

    fn serve(&mut self, desired: &Desired, reason: &str, trust: &TrustHistory, now: Timestamp) {
        let Desired { certificate, authorities } = desired;
        let signers = certificate.signers(&authorities.clone().unwrap_or_default(), now);
        // The file of authorities may be of another certificate.
        let signers = if signers.is_empty() { certificate.signers(&trust.trusted(), now) } else { signers };
        let expires = certificate.validity.end;
        info!(reason, %expires, trusted = trust.trusted().len(), "serving a new certificate");
        self.tls.reload_from_config(certificate.config.clone());
        self.expiry.send_replace(Some(expires));
        self.served = Some(Served { certificate: certificate.clone(), signers });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::fixtures::{LIFETIME, NOW, authority, days, issue, issue_at, names};

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
        assert_eq!(switch(&trust, Some(&old), &new, half), Switch::After(None));
        trust.observe(&its.clone().union(&others), names(), half);
        assert_eq!(switch(&trust, Some(&old), &new, half), Switch::After(Some(OVERLAP)));
        assert_eq!(switch(&trust, Some(&old), &new, start + OVERLAP), Switch::After(Some(OVERLAP / 2)));
        assert!(now(&switch(&trust, Some(&old), &new, half + OVERLAP)), "trusted for long enough");
        trust.observe(&others, names(), start);
        assert!(now(&switch(&trust, Some(&old), &new, start)), "the served certificate is no longer trusted");
    }

    #[test]
    fn expired_certificate_is_replaced_at_once() {
        let (old, its) = issue_at(NOW - days(91));
        let (new, _) = issue();
        let mut trust = TrustHistory::new(OVERLAP);
        trust.observe(&its, names(), Instant::now());
        assert!(matches!(switch(Some(&old), &new, &trust, NOW, Instant::now()), Switch::Now(_)));
    }

    #[test]
    fn certificate_of_the_same_or_the_renewed_authority_is_trusted() {
        let authority = authority(NOW - days(2500));
        let renewed = authority.renew(NOW).unwrap();
        let (start, mut trust) = (Instant::now(), TrustHistory::new(OVERLAP));
        trust.observe(&authority.certificates(), names(), start);
        let old = authority.issue(&names(), LIFETIME, NOW - days(60)).unwrap();
        for issuer in [authority, renewed] {
            let new = issuer.issue(&names(), LIFETIME, NOW).unwrap();
            let switch = switch(Some(&old), &new, &trust, NOW, start + OVERLAP);
            assert_eq!(switch, Switch::Now("trusted for long enough"));
        }
    }
}
