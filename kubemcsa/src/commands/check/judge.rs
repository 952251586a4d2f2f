//! Third step: derives the findings from the facts. Pure functions, with a file for each kind of object.

mod advice;
mod argo;
mod importer;
mod imports;
mod launcher;
mod links;
mod not_checked;
mod pods;
mod policies;
mod relink;
#[cfg(test)]
mod samples;
mod state;
mod webhook;

use super::facts::Facts;
use super::finding::Finding;
use super::fix::FixCommands;

pub(crate) use self::pods::is_reported_by_controller;

/// All findings, problems first.
pub(crate) fn judge(facts: &Facts, commands: &FixCommands) -> Vec<Finding> {
    let mut findings = if facts.has_crd {
        let links = links::judge(facts, commands);
        let imports = imports::judge(facts, &links, commands);
        let (importer, webhook) = (importer::judge(facts, commands), webhook::judge(facts, commands));
        let (launcher, argo) = (launcher::judge(facts, commands), argo::judge(facts, commands));
        let policies = policies::judge(facts, commands);
        [importer, webhook, links, imports, policies, launcher, argo, pods::judge(facts, commands)].concat()
    } else {
        // All other findings would follow from this one.
        vec![importer::not_installed(commands)]
    };
    findings.extend(not_checked::judge(facts, commands));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::NotChecked;
    use crate::commands::check::finding::Severity;
    use crate::commands::check::fix::tests::commands;

    #[test]
    fn missing_crd_is_the_only_finding() {
        let findings = judge(&Facts::default(), &commands());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].fix, "kubemcsa install --context c1");
    }

    #[test]
    fn problems_come_before_warnings() {
        let not_checked =
            vec![NotChecked { kind: "Pod".into(), namespace: None, error: "no".into(), is_refused: true }];
        let findings = judge(&Facts { not_checked, ..Facts::default() }, &commands());
        let severities = [Severity::Problem, Severity::Warning];
        assert!(findings.iter().map(|finding| finding.severity).eq(severities), "{findings:?}");
        assert_eq!(findings[1].fix, "kubectl --context c1 auth can-i --list");
    }
}
