//! Certificates for tests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::certificates::authorities::Authorities;
use crate::certificates::authority::Authority;
use crate::certificates::certificate::Certificate;

pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

pub(crate) const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

pub(crate) fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

pub(crate) fn names() -> Vec<String> {
    ["webhook.example.svc", "192.0.2.1", "2001:db8::1"].map(str::to_owned).to_vec()
}

/// An authority that was generated at this time.
pub(crate) fn authority(time: Timestamp) -> Authority {
    mcsa_runtime::tls::install_provider();
    Authority::generate(time).unwrap()
}

/// A certificate for [`names`] that is valid for 90 days from [`NOW`], and its authority.
pub(crate) fn issue() -> (Certificate, Authorities) {
    issue_at(NOW)
}

pub(crate) fn issue_at(time: Timestamp) -> (Certificate, Authorities) {
    let authority = authority(time);
    (authority.issue(&names(), LIFETIME, time).unwrap(), authority.certificates())
}
