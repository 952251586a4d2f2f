//! Checks whether an importer is running: it renews a Lease in the target, wherever it runs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::cluster::call::CallError;

const INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn read(cluster: &Cluster) -> Result<Option<Lease>, CallError> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    cluster.call(&format!("read lease {SYSTEM_NAMESPACE}/importer"), leases.get_opt("importer")).await
}

/// Whether a replica holds the Lease. Clocks may differ: if the Lease looks expired, waits for a renewal, but no longer
/// than its duration or `timeout`.
pub(crate) async fn is_renewed(cluster: &Cluster, first: &Lease, timeout: Duration) -> bool {
    let Some(spec) = &first.spec else { return false };
    let seconds = spec.lease_duration_seconds.unwrap_or_default().max(0);
    let is_held = |lease: &Lease| {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        holder.is_some_and(|holder| !holder.is_empty())
    };
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    if is_held(first) && is_fresh(renewed, seconds, Timestamp::now()) {
        return true;
    }
    // If no replica holds the Lease, a running one acquires it at once.
    let wait = if is_held(first) { Duration::from_secs(seconds.unsigned_abs().into()) } else { 4 * INTERVAL };
    let end = Instant::now() + wait.min(timeout);
    while Instant::now() < end {
        sleep(INTERVAL).await;
        match read(cluster).await {
            Ok(Some(lease)) if is_held(&lease) && lease.spec != first.spec => return true,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
    false
}

/// Whether the renewal time is less than the Lease's duration before or after now.
fn is_fresh(renewed: Option<Timestamp>, seconds: i32, now: Timestamp) -> bool {
    let age = renewed.map(|time| now.duration_since(time));
    age.is_some_and(|age| age.abs() < SignedDuration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Some(990), true)]
    #[case(Some(984), false)]
    #[case(Some(1010), true)]
    #[case(Some(9000), false)]
    #[case(None, false)]
    fn lease_is_fresh_for_its_duration(#[case] renewed: Option<i64>, #[case] expected: bool) {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(is_fresh(renewed.map(at), 15, at(1000)), expected);
    }
}
