//! Links: is there a credential, does the source take it, and does the importer reach the source?

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::REACHABLE;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::advice::{Advice, advise};
use super::relink::{allowed, named};
use super::state::{self, Said, is_passing, is_unseen, said, subject};
use crate::cli::times::to_the_second;
use crate::commands::check::facts::{Asked, Facts};
use crate::commands::check::finding::{Finding, Severity, Subject};
use crate::commands::check::fix::Mend;
use crate::commands::check::probe::is_answered;
use crate::link::existing::ExistingLink;

/// The rules, of each link.
pub fn judge(facts: &Facts, mend: &Mend) -> Vec<Finding> {
    facts.links.iter().flatten().flat_map(|link| judge_one(facts, link, mend)).collect()
}

fn judge_one(facts: &Facts, link: &ExistingLink, mend: &Mend) -> Vec<Finding> {
    let Some(import) = &link.import else { return by_hand(facts, link, mend).into_iter().collect() };
    let answer = answer(facts, import);
    // Whatever else is said of it follows from this.
    let fundamental =
        of_the_secret(facts, link, answer, mend).or_else(|| not_reconciled(facts, import, mend));
    if let Some(finding) = fundamental {
        return vec![finding];
    }
    let told = answer.and_then(|answer| told(facts, answer, import, link, mend));
    let reported = said(import).filter(|said| told.as_ref().is_none_or(|told| told.reason != said.reason));
    // What was tried just now tells more than what was tried earlier.
    let is_stale =
        |said: &Said| is_about_reaching(&said.reason) && answer.is_some_and(|it| it.status == "True");
    let reported = reported.filter(|said| !is_stale(said)).map(|said| {
        let problem = problem(facts, &said, import, link, mend);
        let severity = if is_passing(&said.reason) { Severity::Warning } else { Severity::Problem };
        Finding { severity, ..problem }
    });
    let rotation = rotation(link, import, mend);
    told.into_iter().chain(reported).chain(rotation).chain(unanswered(facts, import, mend)).collect()
}

fn problem(
    facts: &Facts,
    said: &Said,
    import: &ServiceAccountImport,
    link: &ExistingLink,
    mend: &Mend,
) -> Finding {
    let Advice { message, mend } = advise(facts, said, import, Some(link), mend);
    Finding::problem(subject(import), &said.reason, message, mend)
}

/// A link works in the middle of a rotation, too; but whoever then revokes it as usual, does not.
fn rotation(link: &ExistingLink, import: &ServiceAccountImport, mend: &Mend) -> Option<Finding> {
    let (interim, usual) = (link.interim()?, import.spec.bound_secret.as_deref()?);
    let source = &link.cluster_name;
    let message = format!(
        "a rotation of the link to {source} was interrupted, or is not over yet: its token is bound to secret \
         {SYSTEM_NAMESPACE}/{interim} there, so that deleting {SYSTEM_NAMESPACE}/{usual} does not revoke it"
    );
    Some(Finding::warning(subject(import), "RotationUnfinished", message, mend.rotate(source, link)))
}

/// A link that a person made is nobody's to refresh, and there is no import to ask about.
fn by_hand(facts: &Facts, link: &ExistingLink, mend: &Mend) -> Option<Finding> {
    let object = Subject::namespaced("Secret", SYSTEM_NAMESPACE, &link.secret.as_ref()?.name_any());
    let source = &link.cluster_name;
    if let Err(error) = link.link()? {
        return Some(Finding::problem(
            object,
            "InvalidLink",
            error.to_string(),
            mend.bootstrap_elsewhere(source, None, &named(facts, source)),
        ));
    }
    let end = link.expires_at().filter(|end| *end <= facts.now)?;
    let message = format!(
        "the token of the link to {source} expired at {}, and nobody refreshes it",
        to_the_second(end)
    );
    let command = mend.bootstrap(source, Some(link), &allowed(facts, source, Some(link)));
    let Advice { message, mend } = Advice::again(message, Some(link), command);
    Some(Finding::problem(object, "LinkExpired", message, mend))
}

/// What is wrong with what a link's Secret holds.
fn of_the_secret(
    facts: &Facts,
    link: &ExistingLink,
    answer: Option<&Condition>,
    mend: &Mend,
) -> Option<Finding> {
    let (import, source) = (link.import.as_ref()?, &link.cluster_name);
    let problem =
        |reason: &str, message: String, mend| Finding::problem(subject(import), reason, message, mend);
    let elsewhere = || mend.bootstrap_elsewhere(source, Some(link), &[]);
    match link.link() {
        None if facts.sees_link_secrets => {
            let secret = import.secret_name();
            let message = format!("the link to {source} has lost its Secret {SYSTEM_NAMESPACE}/{secret}");
            return Some(problem("ClusterNotLinked", message, elsewhere()));
        }
        None => return None,
        Some(Err(error)) => return Some(problem("InvalidLink", error.to_string(), elsewhere())),
        Some(Ok(_)) => {}
    }
    // By the clock of whoever looks, which may be wrong: what the source accepts has not expired.
    let is_accepted = answer.is_some_and(|answer| answer.status == "True");
    let end = link.expires_at().filter(|end| *end <= facts.now && !is_accepted)?;
    let message = format!(
        "the token of the link to {source} expired at {}, and a link whose token has expired can't refresh itself",
        to_the_second(end)
    );
    let Advice { message, mend } =
        Advice::again(message, Some(link), mend.bootstrap(source, Some(link), &[]));
    Some(problem("LinkExpired", message, mend))
}

fn not_reconciled(facts: &Facts, import: &ServiceAccountImport, mend: &Mend) -> Option<Finding> {
    let is_missed = is_unseen(import, facts.now) && may_be_asked(facts);
    is_missed.then(|| state::not_reconciled(import, mend))
}

/// What the importer answered to this very request. What it answered to an earlier one was so then.
fn answer<'a>(facts: &Facts, import: &'a ServiceAccountImport) -> Option<&'a Condition> {
    let Asked::Request(request, _) = &facts.asked else { return None };
    import.condition(REACHABLE).filter(|_| is_answered(import, request))
}

/// What the importer found out when it was asked.
fn told(
    facts: &Facts,
    answer: &Condition,
    import: &ServiceAccountImport,
    link: &ExistingLink,
    mend: &Mend,
) -> Option<Finding> {
    let Condition { reason, message, .. } = answer;
    if answer.status != "True" {
        let said = Said { reason: reason.clone(), message: message.clone() };
        return Some(problem(facts, &said, import, link, mend));
    }
    let shows = Mend::in_source(&["get", "--raw", "/readyz", "-v=8"]);
    (reason == "ClockSkewed").then(|| Finding::warning(subject(import), reason, message, shows))
}

/// Whether it is about the way to the source, of which the importer was just asked.
pub fn is_about_reaching(reason: &str) -> bool {
    matches!(
        reason,
        "SourceUnreachable" | "SourceNotTrusted" | "LinkUnauthorized" | "ClusterIdentityMismatch"
    )
}

/// Whether the importer has just reached the source of a link.
pub fn is_reached(facts: &Facts, link: &ExistingLink) -> bool {
    let answer = link.import.as_ref().and_then(|import| answer(facts, import));
    answer.is_some_and(|answer| answer.status == "True")
}

/// That the importer works, and does not answer: one of an earlier version does not.
fn unanswered(facts: &Facts, import: &ServiceAccountImport, mend: &Mend) -> Option<Finding> {
    let Asked::Request(request, seconds) = &facts.asked else { return None };
    let message = format!(
        "the importer has not said within {seconds} s whether it reaches {}; is it older than this kubemcsa, or very busy?",
        import.spec.cluster_name
    );
    let shows = mend.in_system(&["logs", "-l", "app.kubernetes.io/name=importer", "--tail=50"]);
    let is_silent = !is_answered(import, request) && may_be_asked(facts);
    is_silent.then(|| Finding::warning(subject(import), "NotAnswered", message, shows))
}

/// Else that is said of the importer.
fn may_be_asked(facts: &Facts) -> bool {
    facts.importer.is_leading || !facts.importer.is_seen
}

/// The link to a source, if there is one.
pub fn link_to<'a>(facts: &'a Facts, source: &str) -> Option<&'a ExistingLink> {
    facts.links.iter().flatten().find(|link| link.cluster_name == source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::fix::tests::mend;
    use crate::commands::check::judge::samples::{
        NOW, at, condition, facts, link, link_secret, link_secret_of,
    };
    use rstest::rstest;
    use serde_json::{Value, json};

    const REQUEST: &str = "2026-01-01T00:00:00Z";

    fn well() -> Value {
        json!([condition("Ready", "True", "TokenValid"), condition("Refreshed", "True", "Refreshed")])
    }

    fn answered(status: &str, reason: &str) -> Value {
        let mut conditions = well();
        conditions.as_array_mut().unwrap().push(condition("Reachable", status, reason));
        json!({ "conditions": conditions, "checkedRequest": REQUEST, "observedGeneration": 1 })
    }

    fn failed(reason: &str) -> Value {
        let conditions =
            json!([condition("Ready", "True", "TokenValid"), condition("Refreshed", "False", reason)]);
        json!({ "conditions": conditions, "observedGeneration": 1 })
    }

    /// With an answer to this very request.
    fn failed_and_answered(failed_for: &str, status: &str, reason: &str) -> Value {
        let mut failed = failed(failed_for);
        failed["conditions"].as_array_mut().unwrap().push(condition("Reachable", status, reason));
        failed["checkedRequest"] = REQUEST.into();
        failed
    }

    fn asked() -> Asked {
        Asked::Request(REQUEST.into(), 15)
    }

    #[rstest]
    #[case::well(answered("True", "Answered"), asked(), &[])]
    #[case::away(answered("False", "SourceUnreachable"), asked(), &["SourceUnreachable"])]
    #[case::with_another_authority(answered("False", "SourceNotTrusted"), asked(), &["SourceNotTrusted"])]
    #[case::revoked(answered("False", "LinkUnauthorized"), asked(), &["LinkUnauthorized"])]
    #[case::with_another_clock(answered("True", "ClockSkewed"), asked(), &["ClockSkewed"])]
    #[case::said_twice(failed_and_answered("Forbidden", "False", "Forbidden"), asked(), &["Forbidden"])]
    #[case::wrong_in_two_ways(
        failed_and_answered("SecretNotWritten", "False", "SourceUnreachable"),
        asked(),
        &["SourceUnreachable", "SecretNotWritten"]
    )]
    #[case::back_again(failed_and_answered("SourceUnreachable", "True", "Answered"), asked(), &[])]
    #[case::an_answer_of_before(answered("False", "SourceUnreachable"), Asked::Nothing, &[])]
    #[case::no_answer_yet(json!({ "conditions": well(), "observedGeneration": 1 }), asked(), &["NotAnswered"])]
    #[case::may_not_ask(failed_and_answered("LinkUnauthorized", "True", "Answered"), Asked::Refused("no".into()), &["LinkUnauthorized"])]
    #[case::not_asked(failed("ServiceAccountNotFound"), Asked::Nothing, &["ServiceAccountNotFound"])]
    #[case::nobody_has_seen_it(json!(null), asked(), &["NotReconciled"])]
    #[case::nobody_has_seen_the_change(json!({ "conditions": well(), "observedGeneration": 0 }), asked(), &["NotReconciled"])]
    fn links(#[case] status: Value, #[case] asked: Asked, #[case] expected: &[&str]) {
        let link = link("c2", status, Some(link_secret(NOW + 3600)));
        let facts = Facts { asked, links: Some(vec![link]), ..facts() };
        let findings = judge(&facts, &mend());
        assert_eq!(Vec::from_iter(findings.iter().map(|it| it.reason.as_str())), expected);
    }

    #[test]
    fn a_link_that_has_expired_is_made_anew_by_the_same_way() {
        let expired = |status| link("c2", status, Some(link_secret(NOW - 60)));
        let refused = expired(answered("False", "LinkUnauthorized"));
        let facts = Facts { asked: asked(), links: Some(vec![refused]), ..facts() };
        let findings = judge(&facts, &mend());
        assert_eq!(findings.len(), 1, "all else follows: {findings:?}");
        assert_eq!(findings[0].reason, "LinkExpired");
        assert_eq!(
            findings[0].mend,
            "kubemcsa bootstrap --target-context c1 --target-name c1 --source-name c2 --source-server https://c2 \
             --source-context SOURCE_CONTEXT"
        );
        let links = Some(vec![expired(answered("True", "Answered"))]);
        assert_eq!(judge(&Facts { links, ..facts }, &mend()), [], "it is our clock that is wrong");
    }

    #[rstest]
    #[case::usual(json!({ "name": "c1", "uid": "s" }), None)]
    #[case::interim(
        json!({ "name": "c1-rotation-x", "uid": "s" }),
        Some(
            "kubemcsa rotate --target-context c1 --target-name c1 --source-context SOURCE_CONTEXT --source-name c2"
        )
    )]
    fn a_rotation_that_was_interrupted(#[case] bound_to: Value, #[case] expected: Option<&str>) {
        let secret = link_secret_of(NOW + 3600, Some(bound_to));
        let mut link = link("c2", answered("True", "Answered"), Some(secret));
        link.import.as_mut().unwrap().spec.bound_secret = Some("c1".into());
        let findings = judge(&Facts { asked: asked(), links: Some(vec![link]), ..facts() }, &mend());
        let found = findings.first().map(|it| (it.reason.as_str(), it.severity, it.mend.as_str()));
        assert_eq!(found, expected.map(|mend| ("RotationUnfinished", Severity::Warning, mend)));
    }

    #[test]
    fn a_link_without_its_secret() {
        let lost = || Some(vec![link("c2", answered("True", "Answered"), None)]);
        let seen = Facts { asked: asked(), links: lost(), ..facts() };
        assert_eq!(judge(&seen, &mend())[0].reason, "ClusterNotLinked");
        let unseen = Facts { sees_link_secrets: false, ..seen };
        assert_eq!(judge(&unseen, &mend()), [], "it may be there");
    }

    #[rstest]
    #[case::good(NOW + 60, None)]
    #[case::expired(NOW - 60, Some("LinkExpired"))]
    fn a_link_by_hand(#[case] expires: i64, #[case] expected: Option<&str>) {
        let link =
            ExistingLink { cluster_name: "c3".into(), import: None, secret: Some(link_secret(expires)) };
        let facts = Facts { links: Some(vec![link]), now: at(NOW), ..facts() };
        let findings = judge(&facts, &mend());
        assert_eq!(findings.first().map(|finding| finding.reason.as_str()), expected);
    }
}
