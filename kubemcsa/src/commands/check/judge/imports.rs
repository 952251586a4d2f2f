//! Imports: has the importer reconciled them, and does it keep them fresh?
//!
//! Imports that fail for the same reason in the source or the link share a finding.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::advice::{Advice, Denial, advise, denial};
use super::links::{is_about_connectivity, is_reachable, link_to};
use super::state::{Failure, affects_source, failure, is_transient, is_unobserved, not_reconciled, subject};
use crate::commands::check::facts::Facts;
use crate::commands::check::finding::{Finding, Severity, Subject};
use crate::commands::check::fix::FixCommands;

/// Problems in `link_findings` are not repeated for the imports of the link.
pub(crate) fn judge(facts: &Facts, link_findings: &[Finding], commands: &FixCommands) -> Vec<Finding> {
    let mut findings = Vec::from_iter(not_served(facts, commands));
    let mut groups: BTreeMap<Group, Vec<(&ServiceAccountImport, Failure)>> = BTreeMap::new();
    for import in facts.other_imports().filter(|import| is_served(facts, import)) {
        if is_unobserved(import, facts.now) {
            // If no importer runs, there is a finding about the importer instead.
            findings.extend(facts.importer_may_run().then(|| not_reconciled(import, commands)));
        } else if let Some(failure) = failure(import) {
            groups.entry(Group::of(import, &failure)).or_default().push((import, failure));
        }
    }
    let problems: Vec<_> =
        link_findings.iter().filter(|finding| finding.severity == Severity::Problem).collect();
    let is_repeated = |group: &Group| {
        let link = link_to(facts, &group.source).and_then(|link| link.import.as_ref()).map(subject);
        group.affects_source && problems.iter().any(|finding| Some(&finding.object) == link.as_ref())
    };
    let groups = groups.into_iter().filter(|(group, _)| !is_repeated(group));
    findings.extend(groups.filter_map(|(_, imports)| failed(facts, &imports, commands)));
    findings
}

/// Imports with the same failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    source: String,
    reason: String,
    affects_source: bool,
    /// Namespace and name of the failing service account, or of the import itself. Empty if the whole source fails.
    object: (String, String),
}

impl Group {
    fn of(import: &ServiceAccountImport, failure: &Failure) -> Self {
        let spec = &import.spec;
        let affects_source = affects_source(&failure.reason);
        let account = || (spec.namespace.clone(), spec.name.clone());
        let object = match failure.reason.as_str() {
            _ if affects_source => Default::default(),
            // The fix of other denials is to change the import.
            "Forbidden" if denial(import, &failure.message) == Denial::NotAllowed => account(),
            "ServiceAccountNotFound" | "TokenRequestTimedOut" => account(),
            _ => (import.namespace().unwrap_or_default(), import.name_any()),
        };
        Self { source: spec.cluster_name.clone(), reason: failure.reason.clone(), affects_source, object }
    }
}

fn failed(
    facts: &Facts,
    imports: &[(&ServiceAccountImport, Failure)],
    commands: &FixCommands,
) -> Option<Finding> {
    let (import, failure) = imports.first()?;
    let others = match imports.len() - 1 {
        0 => String::new(),
        1 => " (1 other import has the same problem)".into(),
        count => format!(" ({count} other imports have the same problem)"),
    };
    let link = link_to(facts, &import.spec.cluster_name);
    let Advice { message, fix } = advise(facts, failure, import, link, commands);
    let problem = Finding::problem(subject(import), &failure.reason, format!("{message}{others}"), fix);
    Some(if is_about_connectivity(&failure.reason) && link.is_some_and(|link| is_reachable(facts, link)) {
        let message = format!(
            "{}; the importer has just reached the source, so the next refresh should succeed",
            problem.message
        );
        Finding { severity: Severity::Warning, message, ..problem }
    } else if is_transient(&failure.reason) {
        Finding { severity: Severity::Warning, ..problem }
    } else {
        problem
    })
}

fn is_served(facts: &Facts, import: &ServiceAccountImport) -> bool {
    let namespace = import.namespace().unwrap_or_default();
    facts
        .importer
        .namespaces
        .as_ref()
        .is_none_or(|served| namespace == SYSTEM_NAMESPACE || served.contains(&namespace))
}

/// The fix is one command for all namespaces, because each `install --namespaces` replaces the previous list.
fn not_served(facts: &Facts, commands: &FixCommands) -> Option<Finding> {
    let served = facts.importer.namespaces.as_ref()?;
    let missing = facts.other_imports().filter(|import| !is_served(facts, import));
    let missing: BTreeSet<_> = missing.filter_map(ResourceExt::namespace).collect();
    if missing.is_empty() {
        return None;
    }
    let list = |names: &BTreeSet<String>| {
        let namespaces = if names.len() == 1 { "namespace" } else { "namespaces" };
        format!("{namespaces} {}", names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let message =
        format!("the importer only serves {}, but there are imports in {}", list(served), list(&missing));
    let fix = commands.install_confined(served.union(&missing).map(String::as_str));
    let object = Subject::namespaced("Deployment", SYSTEM_NAMESPACE, "importer");
    Some(Finding::problem(object, "NotServed", message, fix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::{CheckRequest, Importer};
    use crate::commands::check::fix::tests::commands;
    use crate::commands::check::judge::links;
    use crate::commands::check::judge::samples::{
        self, NOW, facts, import, import_status, link, link_secret,
    };
    use rstest::rstest;
    use serde_json::json;

    fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
        super::judge(facts, &links::judge(facts, commands), commands)
    }

    #[rstest]
    #[case::healthy(None, None)]
    #[case::forbidden(
        Some("Forbidden"),
        Some("kubemcsa allow default/pod-lister --target-name c1 --source-context SOURCE_CONTEXT")
    )]
    #[case::no_service_account(
        Some("ServiceAccountNotFound"),
        Some("kubectl --context SOURCE_CONTEXT -n default create serviceaccount pod-lister")
    )]
    #[case::not_linked(
        Some("ClusterNotLinked"),
        Some(
            "kubemcsa bootstrap --target-context c1 --source-name c2 --allow default/pod-lister --source-context \
             SOURCE_CONTEXT"
        )
    )]
    #[case::not_permitted(
        Some("NotPermitted"),
        Some(
            "kubemcsa allow default/pod-lister --for team --target-context c1 --source-context SOURCE_CONTEXT \
             --source-name c2"
        )
    )]
    #[case::token_request_timed_out(
        Some("TokenRequestTimedOut"),
        Some(
            "kubectl --context SOURCE_CONTEXT get validatingwebhookconfigurations,mutatingwebhookconfigurations -o yaml"
        )
    )]
    #[case::name_conflict(
        Some("SecretNameConflict"),
        Some("kubectl --context c1 -n team describe secret a-token")
    )]
    #[case::quota_exceeded(
        Some("QuotaExceeded"),
        Some("kubectl --context c1 -n team describe resourcequota")
    )]
    #[case::reason_of_a_later_version(
        Some("Novel"),
        Some("kubectl --context c1 -n team describe serviceaccountimport a")
    )]
    fn each_reason_has_its_fix(#[case] reason: Option<&str>, #[case] expected: Option<&str>) {
        let imports = samples::imports([import("team", "a", "c2", import_status(true, reason))]);
        let findings = judge(&Facts { imports, ..facts() }, &commands());
        assert_eq!(findings.first().map(|finding| finding.fix.as_str()), expected);
        assert_eq!(findings.first().map(|finding| finding.reason.as_str()), reason);
    }

    #[test]
    fn imports_with_the_same_failure_share_a_finding() {
        let many = |reason: &str| {
            samples::imports(
                (0..1000)
                    .map(|i| import("team", &format!("a{i:03}"), "c2", import_status(true, Some(reason)))),
            )
        };
        let alone = Facts { imports: many("SourceUnreachable"), ..facts() };
        let findings = judge(&alone, &commands());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.ends_with("(999 other imports have the same problem)"), "{findings:?}");
        // The finding about the link covers its imports.
        let status = import_status(true, Some("SourceUnreachable"));
        let linked = Facts { links: Some(vec![link("c2", status, Some(link_secret(NOW + 60)))]), ..alone };
        assert_eq!(judge(&linked, &commands()), []);
        assert_eq!(
            judge(&Facts { imports: many("Forbidden"), ..facts() }, &commands()).len(),
            1,
            "same service account"
        );
        assert_eq!(judge(&Facts { imports: many("SecretNameConflict"), ..facts() }, &commands()).len(), 1000);
    }

    #[test]
    fn outdated_failure_is_a_warning_if_the_source_is_reachable() {
        let mut checked = import_status(true, None);
        let result = samples::condition("Reachable", "True", "Answered");
        checked["conditions"].as_array_mut().unwrap().push(result);
        checked["checkedRequest"] = "now".into();
        let facts = Facts {
            check_request: CheckRequest::Sent { request: "now".into(), seconds: 15 },
            links: Some(vec![link("c2", checked, Some(link_secret(NOW + 60)))]),
            imports: samples::imports([import(
                "team",
                "a",
                "c2",
                import_status(true, Some("SourceUnreachable")),
            )]),
            ..facts()
        };
        let findings = judge(&facts, &commands());
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Warning), "{findings:?}");
    }

    #[test]
    fn transient_failure_is_a_warning() {
        let imports = samples::imports([import("team", "a", "c2", import_status(true, Some("Throttled")))]);
        let findings = judge(&Facts { imports, ..facts() }, &commands());
        assert_eq!(findings[0].severity, Severity::Warning);
    }

    #[rstest]
    #[case::importer_runs(true, true, Some("NotReconciled"))]
    #[case::importer_may_run(false, false, Some("NotReconciled"))]
    #[case::no_importer(false, true, None)]
    fn unobserved_import_is_a_problem_if_an_importer_may_run(
        #[case] has_leader: bool,
        #[case] is_readable: bool,
        #[case] expected: Option<&str>,
    ) {
        let importer = Importer { has_leader, is_readable, ..Default::default() };
        let imports = samples::imports([import("team", "a", "c2", json!(null))]);
        let facts = Facts { importer, imports, ..facts() };
        let findings = judge(&facts, &commands());
        assert_eq!(findings.first().map(|finding| finding.reason.as_str()), expected);
        let early = Facts { now: samples::at(NOW - 50), ..facts };
        assert_eq!(judge(&early, &commands()), [], "it was created just now");
    }

    #[rstest]
    #[case(&["team"], None)]
    #[case(&["elsewhere"], Some("kubemcsa install --context c1 --namespaces elsewhere,team"))]
    #[case(&["z", "b", "team", "z"], Some("kubemcsa install --context c1 --namespaces b,team,z"))]
    #[case(&[SYSTEM_NAMESPACE], None)]
    fn one_fix_serves_all_missing_namespaces(#[case] namespaces: &[&str], #[case] expected: Option<&str>) {
        let served = Some(["team".to_owned()].into());
        let importer = Importer { namespaces: served, ..facts().importer };
        let named = namespaces.iter().enumerate();
        let named =
            named.map(|(i, namespace)| import(namespace, &format!("a{i}"), "c2", import_status(true, None)));
        let findings = judge(&Facts { importer, imports: samples::imports(named), ..facts() }, &commands());
        let found = findings.iter().map(|it| (it.reason.as_str(), it.object.name.as_str(), it.fix.as_str()));
        let expected = expected.map(|fix| ("NotServed", "importer", fix));
        assert_eq!(Vec::from_iter(found), Vec::from_iter(expected));
    }
}
