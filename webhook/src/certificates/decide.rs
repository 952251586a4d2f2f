//! Decides what to write to the Secret, as a pure function. All replicas follow these rules:
//!
//! 1. A valid authority in the Secret is never replaced by another one. A replica that serves a certificate of another
//!    authority adopts it: the configuration lists both, and the replica serves a certificate of the new authority when
//!    the configuration has listed it for a while (`serving`).
//! 2. A certificate that is invalid or due for renewal is replaced by one of the same authority: the one that the
//!    replica knows, if that is valid, so that a damaged Secret changes nothing, or a new one.
//! 3. An authority that is due for renewal is renewed with the same key, so that trust does not change.
//! 4. If there is no valid authority in the Secret, a replica writes the one that it knows, or else a new one.
//!
//! Each write requires the version of the Secret that was observed, or that none exists. So if several replicas write,
//! one succeeds, and rule 1 applies to the others. They end with one authority, whichever it is: a new replica may
//! replace the authority of a deleted Secret before the others restore it, but the others continue to serve their
//! certificate meanwhile, and the configuration trusts it.

use std::time::Duration;

use jiff::Timestamp;

use crate::certificates::authority::Authority;
use crate::certificates::certificate::Certificate;
use crate::certificates::problem::Problem;

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
    let Facts { stored, known, names, now } = facts;
    let authority = match (&stored.authority, known) {
        (Ok(authority), _) => authority,
        (Err(_), Some(known)) => &known.authority,
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
