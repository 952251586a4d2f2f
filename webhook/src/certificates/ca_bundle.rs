//! Whom the configuration is to trust, as a pure function: authorities come before they are needed,
//! and go after they were.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::serving::Served;
use crate::certificates::trust::Trust;

/// What it follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The authorities of what is to be served.
    pub wanted: &'a Authorities,
    /// What is served.
    pub served: Option<&'a Served>,
    /// The authorities that the configuration has.
    pub present: &'a Authorities,
    /// Since when.
    pub trust: &'a Trust,
    /// Since when what is wanted is as it is.
    pub settled: Instant,
    /// By the clock on the wall.
    pub now: Timestamp,
    /// By the clock that never jumps.
    pub clock: Instant,
}

/// Whom to trust, and when to look again: whoever has signed what is to be served, or what is served.
/// Who is trusted beside them stays until nobody has needed them for long enough, and until it is
/// clear that no other replica, whose files may be ahead of ours, is about to need them.
pub(crate) fn bundle(
    Facts { wanted, served, present, trust, settled, now, clock }: Facts<'_>,
) -> (Authorities, Option<Duration>) {
    let needed = served.map_or_else(|| wanted.clone(), |served| wanted.clone().and(&served.signers));
    let others = present.without(&needed).newest(now);
    if others.is_empty() {
        return (needed, None);
    }
    match served.and_then(|served| trust.outlived(&served.certificate, settled, now, clock)) {
        Some(Duration::ZERO) => {
            let (recent, wait) = trust.recent(&others, clock);
            (needed.and(&recent), wait)
        }
        wait => (needed.and(&others), wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::certificate::Certificate;
    use crate::certificates::fixtures::{NOW, issue, names};

    const OVERLAP: Duration = Duration::from_secs(60);

    type Made = (Certificate, Authorities);

    /// Who is trusted, so many seconds after the start, when what is wanted is as it has been since
    /// `settled`, and everyone who is present has been for as long as `trust` says.
    fn after(
        seconds: u64,
        wanted: &Authorities,
        served: Option<&Made>,
        trust: &Trust,
        settled: Instant,
    ) -> (Authorities, Option<u64>) {
        let served = served.map(|(certificate, signers)| Served {
            certificate: certificate.clone(),
            signers: signers.clone(),
        });
        let (present, clock) = (trust.trusted(), settled + Duration::from_secs(seconds));
        let facts =
            Facts { wanted, served: served.as_ref(), present: &present, trust, settled, now: NOW, clock };
        let (authorities, wait) = bundle(facts);
        (authorities, wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn what_is_served_is_trusted_beside_what_is_wanted() {
        let (old, new) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        let both = old.1.clone().and(&new.1);
        assert_eq!(after(0, &new.1, None, &trust, start), (new.1.clone(), None));
        assert_eq!(after(0, &new.1, Some(&old), &trust, start), (both.clone(), None));
        trust.observe(&both, names(), start);
        assert_eq!(after(999, &new.1, Some(&old), &trust, start), (both, None));
    }

    #[test]
    fn the_old_authority_goes_when_nobody_needs_it() {
        let (old, new) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        let both = old.1.and(&new.1);
        trust.observe(&both, names(), start);
        assert_eq!(after(60, &new.1, Some(&new), &trust, start), (both.clone(), Some(60)));
        assert_eq!(after(120, &new.1, Some(&new), &trust, start), (both.clone(), Some(480)));
        assert_eq!(after(600, &new.1, Some(&new), &trust, start), (new.1.clone(), None));
        // It was wanted late: other replicas may not have followed.
        let late = start + Duration::from_secs(900);
        assert_eq!(after(1, &new.1, Some(&new), &trust, late), (both, Some(59)));
        assert_eq!(after(60, &new.1, Some(&new), &trust, late), (new.1.clone(), None));
    }

    #[test]
    fn nobody_goes_while_what_is_served_is_not_trusted() {
        let (old, new) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        trust.observe(&old.1, names(), start);
        assert_eq!(after(999, &new.1, Some(&new), &trust, start), (old.1.and(&new.1), None));
    }

    #[test]
    fn what_another_replica_wants_has_its_time() {
        let (ours, theirs) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        trust.observe(&ours.1, names(), start);
        let both = ours.1.clone().and(&theirs.1);
        trust.observe(&both, names(), start + Duration::from_secs(600));
        assert_eq!(after(600, &ours.1, Some(&ours), &trust, start), (both.clone(), Some(600)));
        assert_eq!(after(1199, &ours.1, Some(&ours), &trust, start), (both, Some(1)));
        assert_eq!(after(1200, &ours.1, Some(&ours), &trust, start), (ours.1.clone(), None));
    }
}
