//! Decides the next rotation step of the certificate in the Secret, as a pure function.
//!
//! A rotation is three writes. *Prepare* adds another certificate and its authority to the Secret. *Promote* makes all
//! replicas serve it, when all API servers trust it. *Retire* removes the old authority. The Secret's version is the
//! precondition of each write: if two replicas take the same step, one succeeds, and both continue from its result.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::{Certificate, Problem};
use crate::certificates::serving::Served;
use crate::certificates::trust::TrustHistory;

/// Contents of the Secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Authorities that the API server must trust.
    pub authorities: Authorities,
    /// The certificate that all replicas serve.
    pub current: Result<Certificate, Problem>,
    /// During a rotation, the certificate that they will serve next.
    pub next: Option<Result<Certificate, Problem>>,
}

/// Inputs of the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RotationFacts<'a> {
    /// `None` if the Secret does not exist.
    pub stored: Option<&'a Stored>,
    pub served: Option<&'a Served>,
    /// Names that the certificate must be valid for.
    pub names: &'a [String],
    pub trust: &'a TrustHistory,
    /// Since when the Secret's current certificate has not changed.
    pub current_since: Instant,
    pub now: Timestamp,
    pub instant: Instant,
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Generate another certificate.
    Prepare {
        /// The certificate to serve meanwhile; if `None`, the new one is served immediately.
        current: Option<Certificate>,
        /// Authorities that the API server must trust in addition to the new one.
        authorities: Authorities,
        /// Why a certificate is needed.
        reason: String,
    },
    /// Serve the next certificate.
    Promote(Stored),
    /// Remove the authorities that did not sign the served certificate.
    Retire(Stored),
    /// Nothing to do for this long, or until something changes.
    Wait(Option<Duration>),
}

pub(crate) fn decide(facts: RotationFacts<'_>) -> Step {
    let RotationFacts { stored, trust, names, current_since, now, instant, .. } = facts;
    let Some(stored) = stored else { return restore(facts, "the Secret does not exist".to_owned()) };
    let problem_of = |certificate: &Certificate| certificate.problem(&stored.authorities, names, now);
    let current = match &stored.current {
        Ok(current) => problem_of(current).map_or(Ok(current), Err),
        Err(problem) => Err(problem.clone()),
    };
    let current = match current {
        Ok(current) => current,
        // Prefer the next certificate to a new one: it may already be trusted.
        Err(problem) => match &stored.next {
            Some(Ok(next)) if problem_of(next).is_none() => {
                return Step::Promote(Stored { current: Ok(next.clone()), next: None, ..stored.clone() });
            }
            _ => return restore(facts, problem.to_string()),
        },
    };
    let signers = current.signers(&stored.authorities, now);
    let prepare = |reason: String| {
        let (current, authorities) = (Some(current.clone()), signers.clone());
        Step::Prepare { current, authorities, reason }
    };
    match &stored.next {
        Some(Err(problem)) => prepare(format!("the next certificate: {problem}")),
        Some(Ok(next)) => match problem_of(next) {
            Some(problem) => prepare(format!("the next certificate: {problem}")),
            None if now >= next.renewal() => prepare("the next certificate is due for renewal".to_owned()),
            None => match trust.wait(next, 1, now, instant) {
                Some(Duration::ZERO) => {
                    Step::Promote(Stored { current: Ok(next.clone()), next: None, ..stored.clone() })
                }
                wait => Step::Wait(wait),
            },
        },
        None if now >= current.renewal() => {
            prepare(format!("the current certificate expires at {}", current.end))
        }
        None if signers != stored.authorities => {
            match trust.retirement_wait(current, current_since, now, instant) {
                Some(Duration::ZERO) => Step::Retire(Stored { authorities: signers, ..stored.clone() }),
                wait => Step::Wait(wait),
            }
        }
        None => Step::Wait(Some(current.renewal().duration_since(now).unsigned_abs())),
    }
}

/// Restores a deleted or invalid Secret. Keeps the served certificate, so that no request fails, and prepares its
/// replacement, because the Secret may have been deleted on purpose.
fn restore(RotationFacts { stored, served, names, now, .. }: RotationFacts<'_>, reason: String) -> Step {
    let is_valid = |served: &&Served| served.certificate.problem(&served.signers, names, now).is_none();
    let served = served.filter(is_valid);
    // Other replicas may still serve certificates of these authorities.
    let known = stored.map(|stored| stored.authorities.newest(now)).unwrap_or_default();
    match served {
        Some(Served { certificate, signers }) => {
            Step::Prepare { current: Some(certificate.clone()), authorities: known.union(signers), reason }
        }
        None => Step::Prepare { current: None, authorities: known, reason },
    }
}

#[cfg(test)]
mod tests;
