//! Imports: has the importer seen each, and does it keep each fresh?
//!
//! What a source or a link does to all its imports is told once.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::advice::{Advice, Refused, advise, refused};
use super::links::{is_about_reaching, is_reached, link_to};
use super::state::{Said, is_of_the_source, is_passing, is_unseen, not_reconciled, said, subject};
use crate::commands::check::facts::Facts;
use crate::commands::check::finding::{Finding, Severity, Subject};
use crate::commands::check::fix::Mend;

/// The rules; what was `told` of links is not told of their imports again.
pub fn judge(facts: &Facts, told: &[Finding], mend: &Mend) -> Vec<Finding> {
    let mut findings = Vec::from_iter(not_served(facts, mend));
    let mut alike: BTreeMap<Alike, Vec<(&ServiceAccountImport, Said)>> = BTreeMap::new();
    for import in facts.other_imports().filter(|import| is_served(facts, import)) {
        if is_unseen(import, facts.now) {
            // Nobody sees any of them where nobody is.
            findings.extend(works(facts).then(|| not_reconciled(import, mend)));
        } else if let Some(said) = said(import) {
            alike.entry(Alike::of(import, &said)).or_default().push((import, said));
        }
    }
    let problems: Vec<_> = told.iter().filter(|finding| finding.severity == Severity::Problem).collect();
    let is_told = |alike: &Alike| {
        let link = link_to(facts, &alike.source).and_then(|link| link.import.as_ref()).map(subject);
        alike.is_of_the_source && problems.iter().any(|finding| Some(&finding.object) == link.as_ref())
    };
    let alike = alike.into_iter().filter(|(alike, _)| !is_told(alike));
    findings.extend(alike.filter_map(|(_, imports)| failed(facts, &imports, mend)));
    findings
}

/// What many imports may say together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    source: String,
    reason: String,
    is_of_the_source: bool,
    /// The service account that it is about, or the import itself.
    what: (String, String),
}

impl Alike {
    fn of(import: &ServiceAccountImport, said: &Said) -> Self {
        let spec = &import.spec;
        let is_of_the_source = is_of_the_source(&said.reason);
        let account = || (spec.namespace.clone(), spec.name.clone());
        let what = match said.reason.as_str() {
            _ if is_of_the_source => Default::default(),
            // Others are the imports' own to mend.
            "Forbidden" if refused(import, &said.message) == Refused::NotAllowed => account(),
            "ServiceAccountNotFound" => account(),
            _ => (import.namespace().unwrap_or_default(), import.name_any()),
        };
        Self { source: spec.cluster_name.clone(), reason: said.reason.clone(), is_of_the_source, what }
    }
}

fn failed(facts: &Facts, imports: &[(&ServiceAccountImport, Said)], mend: &Mend) -> Option<Finding> {
    let (import, said) = imports.first()?;
    let others = match imports.len() - 1 {
        0 => String::new(),
        1 => " (and one other import says the same)".into(),
        count => format!(" (and {count} other imports say the same)"),
    };
    let link = link_to(facts, &import.spec.cluster_name);
    let Advice { message, mend } = advise(facts, said, import, link, mend);
    let problem = Finding::problem(subject(import), &said.reason, format!("{message}{others}"), mend);
    Some(if is_about_reaching(&said.reason) && link.is_some_and(|link| is_reached(facts, link)) {
        let message =
            format!("{}; the importer has reached the source just now, so this should pass", problem.message);
        Finding { severity: Severity::Warning, message, ..problem }
    } else if is_passing(&said.reason) {
        Finding { severity: Severity::Warning, ..problem }
    } else {
        problem
    })
}

/// Whether there is an importer to have seen it, as far as it is known.
fn works(facts: &Facts) -> bool {
    facts.importer.is_leading || !facts.importer.is_seen
}

fn is_served(facts: &Facts, import: &ServiceAccountImport) -> bool {
    let namespace = import.namespace().unwrap_or_default();
    facts
        .importer
        .confined
        .as_ref()
        .is_none_or(|served| namespace == SYSTEM_NAMESPACE || served.contains(&namespace))
}

/// One command for all namespaces: by one for each, the last would undo the others.
fn not_served(facts: &Facts, mend: &Mend) -> Option<Finding> {
    let served = facts.importer.confined.as_ref()?;
    let missed = facts.other_imports().filter(|import| !is_served(facts, import));
    let missed: BTreeSet<_> = missed.filter_map(ResourceExt::namespace).collect();
    let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let is = match missed.len() {
        0 => return None,
        1 => "is not one of them",
        _ => "are not among them",
    };
    let message = format!(
        "the importer is confined to {}; there are imports in {}, which {is}",
        list(served),
        list(&missed)
    );
    let command = mend.confine(served.union(&missed).map(String::as_str));
    let object = Subject::namespaced("Deployment", SYSTEM_NAMESPACE, "importer");
    Some(Finding::problem(object, "NotServed", message, command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::{Asked, Importer};
    use crate::commands::check::fix::tests::mend;
    use crate::commands::check::judge::links;
    use crate::commands::check::judge::samples::{self, NOW, facts, import, link, link_secret, tried};
    use rstest::rstest;
    use serde_json::json;

    fn judge(facts: &Facts, mend: &Mend) -> Vec<Finding> {
        super::judge(facts, &links::judge(facts, mend), mend)
    }

    #[rstest]
    #[case::well(None, None)]
    #[case::forbidden(
        Some("Forbidden"),
        Some("kubemcsa allow default/pod-lister --target-name c1 --source-context SOURCE_CONTEXT")
    )]
    #[case::of_nobody(
        Some("ServiceAccountNotFound"),
        Some("kubectl --context SOURCE_CONTEXT -n default create serviceaccount pod-lister")
    )]
    #[case::unlinked(
        Some("ClusterNotLinked"),
        Some(
            "kubemcsa bootstrap --target-context c1 --source-name c2 --allow default/pod-lister --source-context \
             SOURCE_CONTEXT"
        )
    )]
    #[case::taken(Some("SecretNameConflict"), Some("kubectl --context c1 -n team describe secret a-token"))]
    #[case::without_room(Some("QuotaExceeded"), Some("kubectl --context c1 -n team describe resourcequota"))]
    #[case::of_a_later_version(
        Some("Novel"),
        Some("kubectl --context c1 -n team describe serviceaccountimport a")
    )]
    fn each_reason_has_its_mend(#[case] reason: Option<&str>, #[case] expected: Option<&str>) {
        let imports = samples::imports([import("team", "a", "c2", tried(true, reason))]);
        let findings = judge(&Facts { imports, ..facts() }, &mend());
        assert_eq!(findings.first().map(|finding| finding.mend.as_str()), expected);
        assert_eq!(findings.first().map(|finding| finding.reason.as_str()), reason);
    }

    #[test]
    fn what_a_source_does_to_all_is_told_once() {
        let many = |reason: &str| {
            samples::imports(
                (0..1000).map(|i| import("team", &format!("a{i:03}"), "c2", tried(true, Some(reason)))),
            )
        };
        let alone = Facts { imports: many("SourceUnreachable"), ..facts() };
        let findings = judge(&alone, &mend());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.ends_with("(and 999 other imports say the same)"), "{findings:?}");
        // Of the link, it is told anyway.
        let status = tried(true, Some("SourceUnreachable"));
        let linked = Facts { links: Some(vec![link("c2", status, Some(link_secret(NOW + 60)))]), ..alone };
        assert_eq!(judge(&linked, &mend()), []);
        assert_eq!(
            judge(&Facts { imports: many("Forbidden"), ..facts() }, &mend()).len(),
            1,
            "of one account"
        );
        assert_eq!(judge(&Facts { imports: many("SecretNameConflict"), ..facts() }, &mend()).len(), 1000);
    }

    #[test]
    fn what_was_so_until_just_now_is_no_problem() {
        let mut reached = tried(true, None);
        let answer = samples::condition("Reachable", "True", "Answered");
        reached["conditions"].as_array_mut().unwrap().push(answer);
        reached["checkedRequest"] = "now".into();
        let facts = Facts {
            asked: Asked::Request("now".into(), 15),
            links: Some(vec![link("c2", reached, Some(link_secret(NOW + 60)))]),
            imports: samples::imports([import("team", "a", "c2", tried(true, Some("SourceUnreachable")))]),
            ..facts()
        };
        let findings = judge(&facts, &mend());
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Warning), "{findings:?}");
    }

    #[test]
    fn what_passes_is_no_problem() {
        let imports = samples::imports([import("team", "a", "c2", tried(true, Some("Throttled")))]);
        let findings = judge(&Facts { imports, ..facts() }, &mend());
        assert_eq!(findings[0].severity, Severity::Warning);
    }

    #[rstest]
    #[case::works(true, true, Some("NotReconciled"))]
    #[case::may_work(false, false, Some("NotReconciled"))]
    #[case::does_not_work_which_is_told_elsewhere(false, true, None)]
    fn an_import_that_nobody_has_seen(
        #[case] is_leading: bool,
        #[case] is_seen: bool,
        #[case] expected: Option<&str>,
    ) {
        let importer = Importer { is_leading, is_seen, ..Default::default() };
        let imports = samples::imports([import("team", "a", "c2", json!(null))]);
        let facts = Facts { importer, imports, ..facts() };
        let findings = judge(&facts, &mend());
        assert_eq!(findings.first().map(|finding| finding.reason.as_str()), expected);
        let early = Facts { now: samples::at(NOW - 50), ..facts };
        assert_eq!(judge(&early, &mend()), [], "it was declared just now");
    }

    #[rstest]
    #[case(&["team"], None)]
    #[case(&["elsewhere"], Some("kubemcsa install --context c1 --namespaces elsewhere,team"))]
    #[case(&["z", "b", "team", "z"], Some("kubemcsa install --context c1 --namespaces b,team,z"))]
    #[case(&[SYSTEM_NAMESPACE], None)]
    fn namespaces_that_are_not_served(#[case] namespaces: &[&str], #[case] expected: Option<&str>) {
        let confined = Some(["team".to_owned()].into());
        let importer = Importer { confined, ..facts().importer };
        let named = namespaces.iter().enumerate();
        let named = named.map(|(i, namespace)| import(namespace, &format!("a{i}"), "c2", tried(true, None)));
        let findings = judge(&Facts { importer, imports: samples::imports(named), ..facts() }, &mend());
        let found = findings.iter().map(|it| (it.reason.as_str(), it.object.name.as_str(), it.mend.as_str()));
        let expected = expected.map(|mend| ("NotServed", "importer", mend));
        assert_eq!(Vec::from_iter(found), Vec::from_iter(expected));
    }
}
