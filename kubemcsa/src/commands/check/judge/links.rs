//! Links: is there a credential, does the source accept it, and does the importer reach the source?

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::REACHABLE;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::advice::{Advice, advise};
use super::relink::{grants_for, imported_grants};
use super::state::{self, Failure, failure, is_transient, is_unobserved, subject};
use crate::cli::times::to_the_second;
use crate::commands::check::facts::{CheckRequest, Facts};
use crate::commands::check::finding::{Finding, Severity, Subject};
use crate::commands::check::fix::FixCommands;
use crate::commands::check::probe::has_result;
use crate::link::existing::ExistingLink;

pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    facts.links.iter().flatten().flat_map(|link| judge_link(facts, link, commands)).collect()
}

fn judge_link(facts: &Facts, link: &ExistingLink, commands: &FixCommands) -> Vec<Finding> {
    let Some(import) = &link.import else {
        return judge_without_import(facts, link, commands).into_iter().collect();
    };
    let result = check_result(facts, import);
    // All other findings would follow from this one.
    let root_cause =
        judge_secret(facts, link, result, commands).or_else(|| not_reconciled(facts, import, commands));
    if let Some(finding) = root_cause {
        return vec![finding];
    }
    let checked = result.and_then(|result| judge_result(facts, result, import, link, commands));
    let reported =
        failure(import).filter(|it| checked.as_ref().is_none_or(|checked| checked.reason != it.reason));
    // The check is newer than the status.
    let is_outdated = |failure: &Failure| {
        is_about_connectivity(&failure.reason) && result.is_some_and(|it| it.status == "True")
    };
    let reported = reported.filter(|failure| !is_outdated(failure)).map(|failure| {
        let problem = problem(facts, &failure, import, link, commands);
        let severity = if is_transient(&failure.reason) { Severity::Warning } else { Severity::Problem };
        Finding { severity, ..problem }
    });
    let rotation = unfinished_rotation(link, import, commands);
    checked.into_iter().chain(reported).chain(rotation).chain(no_result(facts, import, commands)).collect()
}

fn problem(
    facts: &Facts,
    failure: &Failure,
    import: &ServiceAccountImport,
    link: &ExistingLink,
    commands: &FixCommands,
) -> Finding {
    let Advice { message, fix } = advise(facts, failure, import, Some(link), commands);
    Finding::problem(subject(import), &failure.reason, message, fix)
}

/// A link works during a rotation, too, but deleting the usual Secret would not revoke it.
fn unfinished_rotation(
    link: &ExistingLink,
    import: &ServiceAccountImport,
    commands: &FixCommands,
) -> Option<Finding> {
    let (interim, usual) = (link.interim()?, import.spec.bound_secret.as_deref()?);
    let source = &link.cluster_name;
    let message = format!(
        "a rotation of the link to {source} is running or was interrupted: in {source}, the link's token is bound to \
         Secret {SYSTEM_NAMESPACE}/{interim}, so deleting Secret {SYSTEM_NAMESPACE}/{usual} does not revoke it"
    );
    Some(Finding::warning(subject(import), "RotationUnfinished", message, commands.rotate(source, link)))
}

/// A link that was created by hand has no import, so the importer neither refreshes nor checks it.
fn judge_without_import(facts: &Facts, link: &ExistingLink, commands: &FixCommands) -> Option<Finding> {
    let object = Subject::namespaced("Secret", SYSTEM_NAMESPACE, &link.secret.as_ref()?.name_any());
    let source = &link.cluster_name;
    if let Err(error) = link.link()? {
        let fix = commands.bootstrap_as_in_context(source, None, &imported_grants(facts, source));
        return Some(Finding::problem(object, "InvalidLink", error.to_string(), fix));
    }
    let end = link.expires_at().filter(|end| *end <= facts.now)?;
    let message = format!(
        "the token of the link to {source} expired at {}, and nothing refreshes it because the link has no import",
        to_the_second(end)
    );
    let command = commands.bootstrap(source, Some(link), &grants_for(facts, source, Some(link)));
    let Advice { message, fix } = Advice::bootstrap(message, Some(link), command);
    Some(Finding::problem(object, "LinkExpired", message, fix))
}

fn judge_secret(
    facts: &Facts,
    link: &ExistingLink,
    result: Option<&Condition>,
    commands: &FixCommands,
) -> Option<Finding> {
    let (import, source) = (link.import.as_ref()?, &link.cluster_name);
    let problem =
        |reason: &str, message: String, fix| Finding::problem(subject(import), reason, message, fix);
    let bootstrap = || commands.bootstrap_as_in_context(source, Some(link), &[]);
    match link.link() {
        None if facts.are_link_secrets_readable => {
            let secret = import.secret_name();
            let message =
                format!("Secret {SYSTEM_NAMESPACE}/{secret} of the link to {source} does not exist");
            return Some(problem("ClusterNotLinked", message, bootstrap()));
        }
        None => return None,
        Some(Err(error)) => return Some(problem("InvalidLink", error.to_string(), bootstrap())),
        Some(Ok(_)) => {}
    }
    // This machine's clock may be wrong: a token that the source accepts has not expired.
    let is_accepted = result.is_some_and(|result| result.status == "True");
    let end = link.expires_at().filter(|end| *end <= facts.now && !is_accepted)?;
    let message = format!(
        "the token of the link to {source} expired at {}, and the link can't refresh itself with an expired token",
        to_the_second(end)
    );
    let Advice { message, fix } =
        Advice::bootstrap(message, Some(link), commands.bootstrap(source, Some(link), &[]));
    Some(problem("LinkExpired", message, fix))
}

fn not_reconciled(facts: &Facts, import: &ServiceAccountImport, commands: &FixCommands) -> Option<Finding> {
    let is_overdue = is_unobserved(import, facts.now) && facts.importer_may_run();
    is_overdue.then(|| state::not_reconciled(import, commands))
}

/// The result of this run's check. The result of an earlier one is outdated.
fn check_result<'a>(facts: &Facts, import: &'a ServiceAccountImport) -> Option<&'a Condition> {
    let CheckRequest::Sent { request, .. } = &facts.check_request else { return None };
    import.condition(REACHABLE).filter(|_| has_result(import, request))
}

fn judge_result(
    facts: &Facts,
    result: &Condition,
    import: &ServiceAccountImport,
    link: &ExistingLink,
    commands: &FixCommands,
) -> Option<Finding> {
    let Condition { reason, message, .. } = result;
    if result.status != "True" {
        let failure = Failure { reason: reason.clone(), message: message.clone() };
        return Some(problem(facts, &failure, import, link, commands));
    }
    // The Date header shows the source's clock.
    let fix = FixCommands::in_source(&["get", "--raw", "/readyz", "-v=8"]);
    (reason == "ClockSkewed").then(|| Finding::warning(subject(import), reason, message, fix))
}

/// Whether a connectivity check would report this failure if it persisted.
pub(crate) fn is_about_connectivity(reason: &str) -> bool {
    matches!(
        reason,
        "SourceUnreachable"
            | "SourceNotTrusted"
            | "LinkUnauthorized"
            | "LinkForbidden"
            | "ClusterIdentityMismatch"
    )
}

/// Whether the importer has just reached the source of a link.
pub(crate) fn is_reachable(facts: &Facts, link: &ExistingLink) -> bool {
    let result = link.import.as_ref().and_then(|import| check_result(facts, import));
    result.is_some_and(|result| result.status == "True")
}

/// An importer runs but reports no result: an older version does not know checks.
fn no_result(facts: &Facts, import: &ServiceAccountImport, commands: &FixCommands) -> Option<Finding> {
    let CheckRequest::Sent { request, seconds } = &facts.check_request else { return None };
    let message = format!(
        "the importer did not report within {seconds}s whether {} is reachable: it may be older than this kubemcsa, \
         or overloaded",
        import.spec.cluster_name
    );
    let logs = commands.in_system(&["logs", "-l", "app.kubernetes.io/name=importer", "--tail=50"]);
    // If no importer runs, there is a finding about the importer instead.
    let is_missing = !has_result(import, request) && facts.importer_may_run();
    is_missing.then(|| Finding::warning(subject(import), "NoCheckResult", message, logs))
}

pub(crate) fn link_to<'a>(facts: &'a Facts, source: &str) -> Option<&'a ExistingLink> {
    facts.links.iter().flatten().find(|link| link.cluster_name == source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::samples::{
        NOW, at, condition, facts, link, link_secret, link_secret_bound_to,
    };
    use rstest::rstest;
    use serde_json::{Value, json};

    const REQUEST: &str = "2026-01-01T00:00:00Z";

    fn healthy() -> Value {
        json!([condition("Ready", "True", "TokenValid"), condition("Refreshed", "True", "Refreshed")])
    }

    fn checked(status: &str, reason: &str) -> Value {
        let mut conditions = healthy();
        conditions.as_array_mut().unwrap().push(condition("Reachable", status, reason));
        json!({ "conditions": conditions, "checkedRequest": REQUEST, "observedGeneration": 1 })
    }

    fn failed(reason: &str) -> Value {
        let conditions =
            json!([condition("Ready", "True", "TokenValid"), condition("Refreshed", "False", reason)]);
        json!({ "conditions": conditions, "observedGeneration": 1 })
    }

    /// With a check result.
    fn failed_and_checked(failure: &str, status: &str, reason: &str) -> Value {
        let mut failed = failed(failure);
        failed["conditions"].as_array_mut().unwrap().push(condition("Reachable", status, reason));
        failed["checkedRequest"] = REQUEST.into();
        failed
    }

    fn sent() -> CheckRequest {
        CheckRequest::Sent { request: REQUEST.into(), seconds: 15 }
    }

    #[rstest]
    #[case::healthy(checked("True", "Answered"), sent(), &[])]
    #[case::unreachable(checked("False", "SourceUnreachable"), sent(), &["SourceUnreachable"])]
    #[case::not_trusted(checked("False", "SourceNotTrusted"), sent(), &["SourceNotTrusted"])]
    #[case::revoked(checked("False", "LinkUnauthorized"), sent(), &["LinkUnauthorized"])]
    #[case::forbidden(checked("False", "LinkForbidden"), sent(), &["LinkForbidden"])]
    #[case::allowed_again(failed_and_checked("LinkForbidden", "True", "Answered"), sent(), &[])]
    #[case::clock_skewed(checked("True", "ClockSkewed"), sent(), &["ClockSkewed"])]
    #[case::same_failure_twice(failed_and_checked("Forbidden", "False", "Forbidden"), sent(), &["Forbidden"])]
    #[case::two_failures(
        failed_and_checked("SecretNotWritten", "False", "SourceUnreachable"),
        sent(),
        &["SourceUnreachable", "SecretNotWritten"]
    )]
    #[case::reachable_again(failed_and_checked("SourceUnreachable", "True", "Answered"), sent(), &[])]
    #[case::outdated_result(checked("False", "SourceUnreachable"), CheckRequest::NotSent, &[])]
    #[case::no_result(json!({ "conditions": healthy(), "observedGeneration": 1 }), sent(), &["NoCheckResult"])]
    #[case::request_failed(failed_and_checked("LinkUnauthorized", "True", "Answered"), CheckRequest::Failed("no".into()), &["LinkUnauthorized"])]
    #[case::request_not_sent(failed("ServiceAccountNotFound"), CheckRequest::NotSent, &["ServiceAccountNotFound"])]
    #[case::not_reconciled(json!(null), sent(), &["NotReconciled"])]
    #[case::change_not_reconciled(json!({ "conditions": healthy(), "observedGeneration": 0 }), sent(), &["NotReconciled"])]
    fn each_state_of_a_link_has_its_findings(
        #[case] status: Value,
        #[case] check_request: CheckRequest,
        #[case] expected: &[&str],
    ) {
        let link = link("c2", status, Some(link_secret(NOW + 3600)));
        let facts = Facts { check_request, links: Some(vec![link]), ..facts() };
        let findings = judge(&facts, &commands());
        assert_eq!(Vec::from_iter(findings.iter().map(|it| it.reason.as_str())), expected);
    }

    #[test]
    fn expired_link_is_bootstrapped_with_its_connection() {
        let expired = |status| link("c2", status, Some(link_secret(NOW - 60)));
        let refused = expired(checked("False", "LinkUnauthorized"));
        let facts = Facts { check_request: sent(), links: Some(vec![refused]), ..facts() };
        let findings = judge(&facts, &commands());
        assert_eq!(findings.len(), 1, "other findings would follow from this one: {findings:?}");
        assert_eq!(findings[0].reason, "LinkExpired");
        assert_eq!(
            findings[0].fix,
            "kubemcsa bootstrap --target-context c1 --target-name c1 --source-name c2 --source-server https://c2 \
             --source-context SOURCE_CONTEXT"
        );
        let links = Some(vec![expired(checked("True", "Answered"))]);
        assert_eq!(judge(&Facts { links, ..facts }, &commands()), [], "this machine's clock is wrong");
    }

    #[rstest]
    #[case::usual_secret(json!({ "name": "c1", "uid": "s" }), None)]
    #[case::interim_secret(
        json!({ "name": "c1-rotation-x", "uid": "s" }),
        Some(
            "kubemcsa rotate --target-context c1 --target-name c1 --source-context SOURCE_CONTEXT --source-name c2"
        )
    )]
    fn unfinished_rotation_is_a_warning(#[case] bound_to: Value, #[case] expected: Option<&str>) {
        let secret = link_secret_bound_to(NOW + 3600, Some(bound_to));
        let mut link = link("c2", checked("True", "Answered"), Some(secret));
        link.import.as_mut().unwrap().spec.bound_secret = Some("c1".into());
        let findings =
            judge(&Facts { check_request: sent(), links: Some(vec![link]), ..facts() }, &commands());
        let found = findings.first().map(|it| (it.reason.as_str(), it.severity, it.fix.as_str()));
        assert_eq!(found, expected.map(|fix| ("RotationUnfinished", Severity::Warning, fix)));
    }

    #[test]
    fn missing_secret_is_reported_only_if_secrets_could_be_listed() {
        let links = || Some(vec![link("c2", checked("True", "Answered"), None)]);
        let listed = Facts { check_request: sent(), links: links(), ..facts() };
        assert_eq!(judge(&listed, &commands())[0].reason, "ClusterNotLinked");
        let not_listed = Facts { are_link_secrets_readable: false, ..listed };
        assert_eq!(judge(&not_listed, &commands()), [], "it may exist");
    }

    #[rstest]
    #[case::valid(NOW + 60, None)]
    #[case::expired(NOW - 60, Some("LinkExpired"))]
    fn link_without_import_is_a_problem_once_expired(#[case] expires: i64, #[case] expected: Option<&str>) {
        let link =
            ExistingLink { cluster_name: "c3".into(), import: None, secret: Some(link_secret(expires)) };
        let facts = Facts { links: Some(vec![link]), now: at(NOW), ..facts() };
        let findings = judge(&facts, &commands());
        assert_eq!(findings.first().map(|finding| finding.reason.as_str()), expected);
    }
}
