//! Third step: what follows from the facts. A pure function, a file for each kind of object.

mod advice;
mod importer;
mod imports;
mod links;
mod not_checked;
mod pods;
mod relink;
#[cfg(test)]
mod samples;
mod state;
mod webhook;

use super::facts::Facts;
use super::finding::Finding;
use super::fix::Mend;

pub use self::pods::is_told_of;

/// All that is wrong, the worst first.
pub fn judge(facts: &Facts, mend: &Mend) -> Vec<Finding> {
    let mut findings = if facts.has_crd {
        let links = links::judge(facts, mend);
        let imports = imports::judge(facts, &links, mend);
        let (importer, webhook) = (importer::judge(facts, mend), webhook::judge(facts, mend));
        [importer, webhook, links, imports, pods::judge(facts, mend)].concat()
    } else {
        // All else would follow from it.
        vec![importer::not_installed(mend)]
    };
    findings.extend(not_checked::judge(facts, mend));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::Unseen;
    use crate::commands::check::finding::Severity;
    use crate::commands::check::fix::tests::mend;

    #[test]
    fn where_nothing_is_installed_that_is_all_there_is_to_say() {
        let findings = judge(&Facts::default(), &mend());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].mend, "kubemcsa install --context c1");
    }

    #[test]
    fn problems_come_before_warnings() {
        let unseen = vec![Unseen { kind: "Pod".into(), namespace: None, why: "no".into() }];
        let findings = judge(&Facts { unseen, ..Facts::default() }, &mend());
        let severities = [Severity::Problem, Severity::Warning];
        assert!(findings.iter().map(|finding| finding.severity).eq(severities), "{findings:?}");
        assert_eq!(findings[1].mend, "kubectl --context c1 auth can-i --list");
    }
}
