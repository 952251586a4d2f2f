//! What is served, and when another certificate takes its place.

use std::time::Duration;

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;
use crate::certificates::trust::Trust;

/// How long what is served for want of a certificate is valid: nobody trusts it anyway.
const STOPGAP: Duration = Duration::from_secs(24 * 3600);

/// What is to be served, wherever it is from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// The certificate.
    pub certificate: Certificate,
    /// Whom the API server is to trust; none where that is someone else's to say.
    pub authorities: Option<Authorities>,
}

/// A certificate that is served.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// The certificate.
    pub certificate: Certificate,
    /// Whom the API server has to trust, as long as it is served.
    pub signers: Authorities,
}

/// When to switch to what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// At once, for this reason.
    Now(&'static str),
    /// When it has been trusted for long enough.
    In(Duration),
    /// Not before it is trusted.
    WhenTrusted,
}

/// The one rule by which a certificate takes the place of another. No request fails by it: either
/// each API server accepts the new one by now, or nothing was accepted before.
pub(crate) fn switch(
    served: Option<&Certificate>,
    wanted: &Certificate,
    trust: &Trust,
    now: Timestamp,
    clock: Instant,
) -> Switch {
    let Some(served) = served else { return Switch::Now("it is the first") };
    if trust.problem(served, now).is_some() {
        return Switch::Now("the API server does not trust what was served");
    }
    if trust.alike(served, wanted, now) {
        return Switch::Now("the same authority has signed it");
    }
    match trust.wait(wanted, 1, now, clock) {
        Some(Duration::ZERO) => Switch::Now("the API server trusts it for long enough"),
        Some(wait) => Switch::In(wait),
        None => Switch::WhenTrusted,
    }
}

/// The running server's certificate.
#[derive(Debug)]
pub(crate) struct Serving {
    tls: RustlsConfig,
    served: Option<Served>,
    expiry: watch::Sender<Option<Timestamp>>,
}

impl Serving {
    /// Of a server that shows something for want of a certificate: whoever listens early can tell what
    /// is missing.
    ///
    /// # Errors
    /// When the names are none that a certificate can have.
    pub(crate) fn stopgap(names: &[String]) -> anyhow::Result<Self> {
        let (stopgap, _) = Certificate::issue(names, STOPGAP, Timestamp::now())
            .with_context(|| format!("can't make a certificate for {}", names.join(", ")))?;
        let tls = RustlsConfig::from_config(stopgap.config);
        Ok(Self { tls, served: None, expiry: watch::Sender::new(None) })
    }

    /// For the server.
    pub(crate) fn tls(&self) -> RustlsConfig {
        self.tls.clone()
    }

    /// When what is served expires; none before there is a certificate.
    pub(crate) fn expiry(&self) -> watch::Receiver<Option<Timestamp>> {
        self.expiry.subscribe()
    }

    /// What is served.
    pub(crate) fn served(&self) -> Option<&Served> {
        self.served.as_ref()
    }

    /// Switches to what is wanted if it is time, and says how long until it is.
    pub(crate) fn follow(
        &mut self,
        wanted: &Wanted,
        trust: &Trust,
        now: Timestamp,
        clock: Instant,
    ) -> Option<Duration> {
        let served = self.served.as_ref().map(|served| &served.certificate);
        if served == Some(&wanted.certificate) {
            return None;
        }
        match switch(served, &wanted.certificate, trust, now, clock) {
            Switch::Now(reason) => {
                self.serve(wanted, reason, trust, now);
                None
            }
            Switch::In(wait) => Some(wait),
            Switch::WhenTrusted => None,
        }
    }

    fn serve(&mut self, wanted: &Wanted, reason: &str, trust: &Trust, now: Timestamp) {
        let certificate = &wanted.certificate;
        let known = trust.trusted().and(&wanted.authorities.clone().unwrap_or_default());
        let signers = certificate.signers(&known, now);
        let trusted = trust.trusted().len();
        info!(reason, expires = %certificate.end, trusted, "serving another certificate");
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
    fn the_rule() {
        let ((old, its), (new, others)) = (issue(), issue());
        let mut trust = Trust::new(OVERLAP);
        let start = Instant::now();
        let half = start + OVERLAP / 2;
        let switch = |trust: &Trust, served, wanted, clock| switch(served, wanted, trust, NOW, clock);
        let now = |switch: &Switch| matches!(switch, Switch::Now(_));

        assert!(now(&switch(&trust, None, &new, start)), "nothing is served");
        assert!(now(&switch(&trust, Some(&old), &new, start)), "what is served is not trusted");
        trust.observe(&its, names(), start);
        assert_eq!(switch(&trust, Some(&old), &new, half), Switch::WhenTrusted);
        trust.observe(&its.clone().and(&others), names(), half);
        assert_eq!(switch(&trust, Some(&old), &new, half), Switch::In(OVERLAP));
        assert_eq!(switch(&trust, Some(&old), &new, start + OVERLAP), Switch::In(OVERLAP / 2));
        assert!(now(&switch(&trust, Some(&old), &new, half + OVERLAP)), "trusted for long enough");
        trust.observe(&others, names(), start);
        assert!(now(&switch(&trust, Some(&old), &new, start)), "what is served is trusted no more");
    }

    #[test]
    fn what_has_expired_is_not_waited_with() {
        let (old, its) = issue_at(NOW - SignedDuration::from_hours(91 * 24));
        let (new, _) = issue();
        let mut trust = Trust::new(OVERLAP);
        trust.observe(&its, names(), Instant::now());
        assert!(matches!(switch(Some(&old), &new, &trust, NOW, Instant::now()), Switch::Now(_)));
    }
}
