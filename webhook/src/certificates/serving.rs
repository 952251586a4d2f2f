//! The served certificate, and when to replace it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::certificates::authorities::Authorities;
use crate::certificates::authority::Authority;
use crate::certificates::certificate::Certificate;
use crate::certificates::trust::Trust;

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

/// When to replace the served certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// Immediately, for this reason.
    Now(&'static str),
    /// After this time, or when the desired certificate is trusted.
    Wait(Option<Duration>),
}

/// No request fails because of the switch: either all API servers accept the desired certificate, or they reject the
/// served one anyway.
pub(crate) fn switch(
    served: Option<&Certificate>,
    desired: &Certificate,
    trust: &Trust,
    now: Timestamp,
    instant: Instant,
) -> Switch {
    match (served, trust.wait(instant)) {
        (None, _) => Switch::Now("first certificate"),
        (Some(served), _) if trust.problem(served, now).is_some() => {
            Switch::Now("the API server does not trust the served certificate")
        }
        _ if trust.problem(desired, now).is_some() => Switch::Wait(None),
        (_, Duration::ZERO) => Switch::Now("trusted for long enough"),
        (_, wait) => Switch::Wait(Some(wait)),
    }
}

#[derive(Debug)]
pub(crate) struct Serving {
    tls: watch::Sender<Arc<ServerConfig>>,
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
        let tls = watch::Sender::new(placeholder.config);
        Ok(Self { tls, served: None, expiry: watch::Sender::new(None) })
    }

    /// The server's TLS config, which follows the served certificate.
    pub(crate) fn tls(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.tls.subscribe()
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
        trust: &Trust,
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
            Switch::Wait(wait) => wait,
        }
    }

    fn serve(&mut self, desired: &Desired, reason: &str, trust: &Trust, now: Timestamp) {
        let Desired { certificate, authorities } = desired;
        let signers = certificate.signers(&authorities.clone().unwrap_or_default(), now);
        // The file of authorities may be of another certificate.
        let signers = if signers.is_empty() { certificate.signers(trust.trusted(), now) } else { signers };
        let expires = certificate.validity.end;
        info!(reason, %expires, trusted = trust.trusted().len(), "serving a new certificate");
        self.tls.send_replace(certificate.config.clone());
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
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        let switch = |trust: &Trust, served, seconds| {
            super::switch(served, &new, trust, NOW, start + Duration::from_secs(seconds))
        };
        assert_eq!(switch(&trust, None, 0), Switch::Now("first certificate"));
        let is_untrusted = Switch::Now("the API server does not trust the served certificate");
        assert_eq!(switch(&trust, Some(&old), 0), is_untrusted);
        trust.observe(its.clone(), names(), start);
        assert_eq!(switch(&trust, Some(&old), 99), Switch::Wait(None));
        let (expired, _) = issue_at(NOW - days(91));
        assert_eq!(switch(&trust, Some(&expired), 99), is_untrusted);
        trust.observe(its.union(&others), names(), start + OVERLAP);
        assert_eq!(switch(&trust, Some(&old), 61), Switch::Wait(Some(Duration::from_secs(59))));
        assert_eq!(switch(&trust, Some(&old), 120), Switch::Now("trusted for long enough"));
        trust.observe(others, names(), start);
        assert_eq!(switch(&trust, Some(&old), 121), is_untrusted);
    }

    #[test]
    fn certificate_of_the_same_or_the_renewed_authority_is_trusted() {
        let authority = authority(NOW - days(2500));
        let renewed = authority.renew(NOW).unwrap();
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        trust.observe(authority.certificates(), names(), start);
        let old = authority.issue(&names(), LIFETIME, NOW - days(60)).unwrap();
        for issuer in [authority, renewed] {
            let new = issuer.issue(&names(), LIFETIME, NOW).unwrap();
            let switch = switch(Some(&old), &new, &trust, NOW, start + OVERLAP);
            assert_eq!(switch, Switch::Now("trusted for long enough"));
        }
    }
}
