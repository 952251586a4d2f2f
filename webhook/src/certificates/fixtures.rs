//! Certificates for tests.

use std::time::Duration;

use jiff::Timestamp;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;

pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

pub(crate) fn names() -> Vec<String> {
    ["webhook.example.svc", "192.0.2.1", "2001:db8::1"].map(str::to_owned).to_vec()
}

/// A certificate for [`names`] that is valid for 90 days from [`NOW`], and its authority.
pub(crate) fn issue() -> (Certificate, Authorities) {
    issue_at(NOW)
}

pub(crate) fn issue_at(now: Timestamp) -> (Certificate, Authorities) {
    mcsa_runtime::tls::install_provider();
    Certificate::issue(&names(), Duration::from_secs(90 * 24 * 3600), now).unwrap()
}
