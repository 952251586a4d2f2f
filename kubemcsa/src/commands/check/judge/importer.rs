//! The importer: is it installed, and does it run?

use jiff::Timestamp;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::cli::times::to_the_second;
use crate::commands::check::facts::{CheckRequest, DeploymentStatus, Facts, Importer};
use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;
use crate::commands::check::probe::has_result;

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let importer = &facts.importer;
    if facts.importer_may_run() {
        return Vec::new();
    }
    match (&importer.deployment, &importer.lease) {
        (None, None) => vec![not_installed(commands)],
        (Some(deployment), None) if deployment.available > 0 && responds(facts) => Vec::new(),
        (deployment, _) => vec![not_running(facts, deployment.as_ref(), commands)],
    }
}

pub(crate) fn not_installed(commands: &FixCommands) -> Finding {
    let message = "the importer is not installed, so no import of this cluster gets a token";
    Finding::problem(deployment(), "NotInstalled", message, commands.install())
}

/// Check results are the only sign of life of an importer without leader election. Without a request, it is presumed to
/// run.
fn responds(facts: &Facts) -> bool {
    match &facts.check_request {
        CheckRequest::Sent { request, .. } => facts.link_imports().any(|import| has_result(import, request)),
        CheckRequest::NotSent | CheckRequest::Failed(_) => true,
    }
}

fn not_running(facts: &Facts, status: Option<&DeploymentStatus>, commands: &FixCommands) -> Finding {
    let pods = match status {
        Some(DeploymentStatus { desired: 0, .. }) => "its Deployment is scaled to 0".to_owned(),
        Some(DeploymentStatus { desired, available }) => {
            format!("{available} of {desired} pods are available")
        }
        None => "it has no Deployment in this cluster".to_owned(),
    };
    let lease = match renew_time(&facts.importer) {
        Some(time) => {
            format!("Lease {SYSTEM_NAMESPACE}/importer was last renewed at {}", to_the_second(time))
        }
        None => format!("Lease {SYSTEM_NAMESPACE}/importer has no holder"),
    };
    let expired = match expired_imports(facts) {
        0 => String::new(),
        1 => "; the token of 1 import has expired".into(),
        count => format!("; the tokens of {count} imports have expired"),
    };
    let message = format!("no importer is running, so tokens are not refreshed: {pods}; {lease}{expired}");
    let fix = match status {
        Some(DeploymentStatus { desired: 0, .. }) => {
            commands.in_system(&["scale", "deployment", "importer", "--replicas=2"])
        }
        Some(_) => commands.in_system(&["describe", "pods", "-l", "app.kubernetes.io/name=importer"]),
        None => commands.install(),
    };
    Finding::problem(deployment(), "ImporterNotRunning", message, fix)
}

fn deployment() -> Subject {
    Subject::namespaced("Deployment", SYSTEM_NAMESPACE, "importer")
}

fn renew_time(importer: &Importer) -> Option<Timestamp> {
    let spec = importer.lease.as_ref()?.spec.as_ref()?;
    spec.renew_time.as_ref().map(|time| time.0)
}

fn expired_imports(facts: &Facts) -> usize {
    let imports = facts.other_imports().filter_map(|import| import.status.as_ref());
    let ends = imports.filter_map(|status| status.expiration_time.as_ref());
    ends.filter(|end| end.0 <= facts.now).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::commands;
    use k8s_openapi::api::coordination::v1::Lease;
    use rstest::rstest;

    const PODS: &str = "kubectl --context c1 -n multicluster-service-account describe pods -l \
                        app.kubernetes.io/name=importer";
    const SCALE: &str =
        "kubectl --context c1 -n multicluster-service-account scale deployment importer --replicas=2";
    const INSTALL: &str = "kubemcsa install --context c1";

    #[rstest]
    #[case::has_leader(Some((2, 2)), true, true, None)]
    #[case::has_leader_outside_of_the_cluster(None, true, true, None)]
    #[case::not_installed(None, false, false, Some(("NotInstalled", INSTALL)))]
    #[case::no_available_pod(Some((2, 0)), true, false, Some(("ImporterNotRunning", PODS)))]
    #[case::no_leader(Some((2, 2)), true, false, Some(("ImporterNotRunning", PODS)))]
    #[case::no_lease(Some((2, 0)), false, false, Some(("ImporterNotRunning", PODS)))]
    #[case::without_leader_election(Some((1, 1)), false, false, None)]
    #[case::scaled_down(Some((0, 0)), true, false, Some(("ImporterNotRunning", SCALE)))]
    #[case::stopped_outside_of_the_cluster(None, true, false, Some(("ImporterNotRunning", INSTALL)))]
    fn importer_must_be_installed_and_lead(
        #[case] pods: Option<(i32, i32)>,
        #[case] has_lease: bool,
        #[case] has_leader: bool,
        #[case] expected: Option<(&str, &str)>,
    ) {
        let importer = Importer {
            deployment: pods.map(|(desired, available)| DeploymentStatus { desired, available }),
            lease: has_lease.then(Lease::default),
            has_leader,
            is_readable: true,
            namespaces: None,
        };
        let facts = Facts { importer, ..Default::default() };
        let findings = judge(&facts, &commands());
        let found = findings.first().map(|finding| (finding.reason.as_str(), finding.fix.as_str()));
        assert_eq!(found, expected);
        let importer = Importer { is_readable: false, ..facts.importer };
        let not_readable = Facts { importer, ..Default::default() };
        assert_eq!(judge(&not_readable, &commands()), [], "the importer may run");
    }
}
