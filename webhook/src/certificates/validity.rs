//! The time in which a certificate is valid.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::certificates::problem::Problem;

/// Tolerated clock skew of the API server.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Validity {
    /// Of a certificate that is generated now.
    pub(crate) fn from_now(lifetime: Duration, now: Timestamp) -> Self {
        Self { start: now - SKEW, end: now + lifetime }
    }

    /// `notBefore` and `notAfter` of a certificate in DER.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let validity = certificate.validity();
        let start = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
        let end = Timestamp::from_second(validity.not_after.timestamp()).ok()?;
        Some(Self { start, end })
    }

    /// Checks that it is valid now.
    pub(crate) fn check(self, now: Timestamp) -> Result<(), Problem> {
        if now < self.start {
            Err(Problem::NotYetValid(self.start))
        } else if now > self.end {
            Err(Problem::Expired(self.end))
        } else {
            Ok(())
        }
    }

    /// Checks that it is valid now, and not due for renewal.
    pub(crate) fn check_renewal(self, now: Timestamp) -> Result<(), Problem> {
        self.check(now)?;
        if now < self.renewal() { Ok(()) } else { Err(Problem::RenewalDue(self.end)) }
    }

    /// When it is due for renewal: after two thirds of its lifetime.
    pub(crate) fn renewal(self) -> Timestamp {
        let issued = self.start + SKEW;
        let start = if issued < self.end { issued } else { self.start };
        start + self.end.duration_since(start) / 3 * 2
    }
}
