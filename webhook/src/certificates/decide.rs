//! Decides what to write to the Secret, as a pure function. All replicas follow these rules:
//!
//! 1. A valid authority in the Secret is never replaced by another one. All replicas serve a certificate of it, also a
//!    replica that knows another authority: it continues to serve its certificate until the configuration has trusted
//!    the authority in the Secret for a while (see `trust`).
//! 2. A certificate that is invalid or due for renewal is replaced by one of the same authority: by the one that the
//!    replica knows, if that is valid, so that a damaged Secret changes nothing, or by a new one.
//! 3. An authority that is due for renewal is renewed with the same key, so that trust does not change.
//! 4. If the Secret does not exist, or has no valid authority, a replica that knows an authority writes it again. A
//!    replica that knows none generates one; but if the configuration trusts an authority, another replica probably
//!    knows it, so it first waits for that replica for [`RESTORE_WAIT`].
//!
//! Each write requires the version of the Secret that was observed, or its absence. So of several replicas, one
//! succeeds, and rule 1 applies to the others: they end with one authority, whichever it is.

use std::time::Duration;

use jiff::Timestamp;

use crate::certificates::authority::Authority;
use crate::certificates::certificate::Certificate;
use crate::certificates::problem::Problem;

/// How long a replica that knows no authority waits for others to restore the Secret. They observe its deletion at once.
const RESTORE_WAIT: Duration = Duration::from_secs(10);

/// An authority and a valid certificate of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Issued {
    pub authority: Authority,
    pub certificate: Certificate,
}

/// Contents of the Secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub authority: Result<Authority, Problem>,
    pub certificate: Result<Certificate, Problem>,
}

impl Stored {
    /// The Secret does not exist.
    pub(crate) fn nothing() -> Self {
        Self { authority: Err(Problem::NoSecret), certificate: Err(Problem::NoSecret) }
    }

    /// The contents, if the certificate can be served now to clients that trust the authority.
    pub(crate) fn valid(&self, names: &[String], now: Timestamp) -> Result<Issued, Problem> {
        let (authority, certificate) = (self.authority.clone()?, self.certificate.clone()?);
        match certificate.problem(&authority.certificates(), names, now) {
            None => Ok(Issued { authority, certificate }),
            Some(problem) => Err(problem),
        }
    }
}

/// Inputs of the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub stored: &'a Stored,
    /// The last valid contents of the Secret that this replica has observed or written.
    pub known: Option<&'a Issued>,
    /// Whether the configuration trusts an authority, or is not known yet.
    pub may_trust: bool,
    /// How long the Secret has had no valid authority.
    pub missing_for: Duration,
    /// Names that the certificate must be valid for.
    pub names: &'a [String],
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step<'a> {
    Write {
        authority: AuthorityStep<'a>,
        /// If `None`, generate one.
        certificate: Option<&'a Certificate>,
        reason: Problem,
    },
    /// Nothing to do for this long, or until something changes.
    Wait(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AuthorityStep<'a> {
    Keep(&'a Authority),
    Renew(&'a Authority),
    Generate,
}

pub(crate) fn decide(facts: Facts<'_>) -> Step<'_> {
    let Facts { stored, known, may_trust, missing_for, names, now } = facts;
    let authority = match (&stored.authority, known) {
        (Ok(authority), _) => authority,
        (Err(_), Some(known)) => &known.authority,
        (Err(_), None) if may_trust && missing_for < RESTORE_WAIT => {
            return Step::Wait(RESTORE_WAIT.saturating_sub(missing_for));
        }
        (Err(problem), None) => {
            let (authority, reason) = (AuthorityStep::Generate, problem.clone());
            return Step::Write { authority, certificate: None, reason };
        }
    };
    if let Err(reason) = authority.validity.check_renewal(now) {
        return Step::Write { authority: AuthorityStep::Renew(authority), certificate: None, reason };
    }
    let check = |certificate: &Certificate| match certificate.problem(&authority.certificates(), names, now) {
        None => certificate.validity.check_renewal(now),
        Some(problem) => Err(problem),
    };
    let reason = match stored {
        Stored { authority: Err(problem), .. } | Stored { certificate: Err(problem), .. } => problem.clone(),
        Stored { certificate: Ok(certificate), .. } => match check(certificate) {
            Ok(()) => {
                let renewal = certificate.validity.renewal().min(authority.validity.renewal());
                return Step::Wait(renewal.duration_since(now).unsigned_abs());
            }
            Err(problem) => problem,
        },
    };
    let known = known.map(|known| &known.certificate).filter(|certificate| check(certificate).is_ok());
    Step::Write { authority: AuthorityStep::Keep(authority), certificate: known, reason }
}

#[cfg(test)]
mod tests;
