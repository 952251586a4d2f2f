//! What is next for the certificate in the Secret, as a pure function.
//!
//! A rotation is three writes. *Prepare* puts another certificate beside the one that is served,
//! and its authority beside the other's. *Promote* has all replicas serve it, once all API servers
//! trust it. *Retire* drops the old authority. Each is on the condition of the Secret's version: of
//! two replicas that take the same step, one does, and both go on from what it wrote.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::{Certificate, Problem};
use crate::certificates::serving::Served;
use crate::certificates::trust::Trust;

/// What is in the Secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// Whom the API server is to trust.
    pub authorities: Authorities,
    /// What all replicas serve.
    pub current: Result<Certificate, Problem>,
    /// What they will serve next, during a rotation.
    pub next: Option<Result<Certificate, Problem>>,
}

/// What a decision follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// What is in the Secret; none if there is no Secret.
    pub kept: Option<&'a Kept>,
    /// What this replica serves.
    pub served: Option<&'a Served>,
    /// The names that a certificate is for.
    pub names: &'a [String],
    /// Whom the API server trusts.
    pub trust: &'a Trust,
    /// Since when the Secret's current certificate is as it is.
    pub settled: Instant,
    /// By the clock on the wall.
    pub now: Timestamp,
    /// By the clock that never jumps.
    pub clock: Instant,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Make another certificate.
    Prepare {
        /// What is served meanwhile; if there is none, then the new one, at once.
        current: Option<Certificate>,
        /// Whom the API server is to trust beside the new authority.
        authorities: Authorities,
        /// Why another one is needed.
        reason: String,
    },
    /// Serve the next one.
    Promote(Kept),
    /// Trust only who has signed what is served.
    Retire(Kept),
    /// Nothing for this long, or until something changes.
    Wait(Option<Duration>),
}

/// Decides what is next.
pub(crate) fn decide(facts: Facts<'_>) -> Step {
    let Facts { kept, trust, names, settled, now, clock, .. } = facts;
    let Some(kept) = kept else { return restore(facts, "there is no Secret".to_owned()) };
    let good = |certificate: &Certificate| certificate.problem(&kept.authorities, names, now);
    let current = match &kept.current {
        Ok(current) => good(current).map_or(Ok(current), Err),
        Err(problem) => Err(problem.clone()),
    };
    let current = match current {
        Ok(current) => current,
        // The next one is as good as any that could be made, and may be trusted already.
        Err(problem) => match &kept.next {
            Some(Ok(next)) if good(next).is_none() => {
                return Step::Promote(Kept { current: Ok(next.clone()), next: None, ..kept.clone() });
            }
            _ => return restore(facts, problem.to_string()),
        },
    };
    let signers = current.signers(&kept.authorities, now);
    let prepare = |reason: String| {
        let (current, authorities) = (Some(current.clone()), signers.clone());
        Step::Prepare { current, authorities, reason }
    };
    match &kept.next {
        Some(Err(problem)) => prepare(format!("the next one: {problem}")),
        Some(Ok(next)) => match good(next) {
            Some(problem) => prepare(format!("the next one: {problem}")),
            None if now >= next.renewal() => prepare("the next one has grown old".to_owned()),
            None => match trust.wait(next, 1, now, clock) {
                Some(Duration::ZERO) => {
                    Step::Promote(Kept { current: Ok(next.clone()), next: None, ..kept.clone() })
                }
                wait => Step::Wait(wait),
            },
        },
        None if now >= current.renewal() => prepare(format!("it expires at {}", current.end)),
        None if signers != kept.authorities => match trust.outlived(current, settled, now, clock) {
            Some(Duration::ZERO) => Step::Retire(Kept { authorities: signers, ..kept.clone() }),
            wait => Step::Wait(wait),
        },
        None => Step::Wait(Some(current.renewal().duration_since(now).unsigned_abs())),
    }
}

/// Someone has deleted or spoiled the Secret. What is served goes on, so that nobody notices, and
/// goes soon, as it may have been deleted for a reason.
fn restore(Facts { kept, served, names, now, .. }: Facts<'_>, reason: String) -> Step {
    let good = |served: &&Served| served.certificate.problem(&served.signers, names, now).is_none();
    let served = served.filter(good);
    // Others may still serve what these have signed.
    let known = kept.map(|kept| kept.authorities.newest(now)).unwrap_or_default();
    match served {
        Some(Served { certificate, signers }) => {
            Step::Prepare { current: Some(certificate.clone()), authorities: known.and(signers), reason }
        }
        None => Step::Prepare { current: None, authorities: known, reason },
    }
}

#[cfg(test)]
mod tests;
