//! The importer: is there one, and does it work?

use jiff::Timestamp;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::cli::times::to_the_second;
use crate::commands::check::facts::{Asked, Deployed, Facts, Importer};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::Mend;

/// The rules.
pub fn judge(facts: &Facts, mend: &Mend) -> Vec<Finding> {
    let importer = &facts.importer;
    if importer.is_leading || !importer.is_seen {
        return Vec::new();
    }
    match (&importer.deployment, &importer.lease) {
        (None, None) => vec![not_installed(mend)],
        (Some(deployed), None) if deployed.available > 0 && has_answered(facts) => Vec::new(),
        (deployed, _) => vec![not_running(facts, deployed.as_ref(), mend)],
    }
}

/// That there is nothing.
pub fn not_installed(mend: &Mend) -> Finding {
    let object = Subject::namespaced("Deployment", SYSTEM_NAMESPACE, "importer");
    let message = "this cluster has no importer, so nothing is imported into it";
    Finding::problem(object, "NotInstalled", message, mend.install())
}

/// One that takes part in no election has only this to show; where it was asked nothing, it is believed.
fn has_answered(facts: &Facts) -> bool {
    match &facts.asked {
        Asked::Request(request, _) => {
            facts.link_imports().any(|import| crate::commands::check::probe::is_answered(import, request))
        }
        Asked::Nothing | Asked::Refused(_) => true,
    }
}

fn not_running(facts: &Facts, deployed: Option<&Deployed>, mend: &Mend) -> Finding {
    let pods = match deployed {
        Some(Deployed { wanted: 0, .. }) => "it is scaled to no pods".to_owned(),
        Some(Deployed { wanted, available }) => format!("pods available: {available} of {wanted}"),
        None => "it has no Deployment here".to_owned(),
    };
    let lease = match renewed(&facts.importer) {
        Some(time) => {
            format!("nobody has renewed the Lease {SYSTEM_NAMESPACE}/importer since {}", to_the_second(time))
        }
        None => format!("nobody holds the Lease {SYSTEM_NAMESPACE}/importer"),
    };
    let expired = expired(facts);
    let expired = match expired {
        0 => String::new(),
        1 => "; the token of one import has expired".into(),
        count => format!("; the tokens of {count} imports have expired"),
    };
    let message = format!("no importer works, so no token is refreshed: {lease}; {pods}{expired}");
    let mend = match deployed {
        Some(Deployed { wanted: 0, .. }) => {
            mend.in_system(&["scale", "deployment", "importer", "--replicas=2"])
        }
        Some(_) => mend.in_system(&["describe", "pods", "-l", "app.kubernetes.io/name=importer"]),
        None => mend.install(),
    };
    let object = Subject::namespaced("Deployment", SYSTEM_NAMESPACE, "importer");
    Finding::problem(object, "ImporterNotRunning", message, mend)
}

fn renewed(importer: &Importer) -> Option<Timestamp> {
    let spec = importer.lease.as_ref()?.spec.as_ref()?;
    spec.renew_time.as_ref().map(|time| time.0)
}

fn expired(facts: &Facts) -> usize {
    let imports = facts.other_imports().filter_map(|import| import.status.as_ref());
    let ends = imports.filter_map(|status| status.expiration_time.as_ref());
    ends.filter(|end| end.0 <= facts.now).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::mend;
    use k8s_openapi::api::coordination::v1::Lease;
    use rstest::rstest;

    const PODS: &str = "kubectl --context c1 -n multicluster-service-account describe pods -l \
                        app.kubernetes.io/name=importer";
    const SCALE: &str =
        "kubectl --context c1 -n multicluster-service-account scale deployment importer --replicas=2";
    const INSTALL: &str = "kubemcsa install --context c1";

    #[rstest]
    #[case::leads(Some((2, 2)), true, true, None)]
    #[case::leads_outside_the_cluster(None, true, true, None)]
    #[case::nothing_is_there(None, false, false, Some(("NotInstalled", INSTALL)))]
    #[case::no_pod_is_available(Some((2, 0)), true, false, Some(("ImporterNotRunning", PODS)))]
    #[case::pods_but_nobody_leads(Some((2, 2)), true, false, Some(("ImporterNotRunning", PODS)))]
    #[case::never_started(Some((2, 0)), false, false, Some(("ImporterNotRunning", PODS)))]
    #[case::without_election(Some((1, 1)), false, false, None)]
    #[case::scaled_down(Some((0, 0)), true, false, Some(("ImporterNotRunning", SCALE)))]
    #[case::ended_outside_the_cluster(None, true, false, Some(("ImporterNotRunning", INSTALL)))]
    fn importers(
        #[case] deployed: Option<(i32, i32)>,
        #[case] has_lease: bool,
        #[case] is_leading: bool,
        #[case] expected: Option<(&str, &str)>,
    ) {
        let importer = Importer {
            deployment: deployed.map(|(wanted, available)| Deployed { wanted, available }),
            lease: has_lease.then(Lease::default),
            is_leading,
            is_seen: true,
            confined: None,
        };
        let facts = Facts { importer, ..Default::default() };
        let findings = judge(&facts, &mend());
        let found = findings.first().map(|finding| (finding.reason.as_str(), finding.mend.as_str()));
        assert_eq!(found, expected);
        let unseen = Facts { importer: Importer { is_seen: false, ..facts.importer }, ..Default::default() };
        assert_eq!(judge(&unseen, &mend()), [], "who can't see it can't say that it is not there");
    }
}
