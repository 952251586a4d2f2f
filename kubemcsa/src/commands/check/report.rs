//! Last step: what was found, for people or for programs.

use anstyle::{AnsiColor, Style};
use anyhow::bail;
use mcsa_runtime::errors;
use serde::Serialize;

use super::Format;
use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::cli::output;
use crate::cluster::object;

const PROBLEM: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// All of it, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    cluster: &'a str,
    findings: &'a [Finding],
    problems: usize,
    warnings: usize,
    links: usize,
    imports: usize,
    pods: usize,
}

impl<'a> Report<'a> {
    /// Of what was found.
    pub fn of(cluster: &'a str, facts: &Facts, findings: &'a [Finding]) -> Self {
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        Self {
            cluster,
            findings,
            problems: count(Severity::Problem),
            warnings: count(Severity::Warning),
            links: facts.links.as_ref().map_or(0, Vec::len),
            imports: facts.other_imports().count(),
            pods: facts.pods.as_ref().map_or(0, Vec::len),
        }
    }

    /// Prints it.
    ///
    /// # Errors
    /// When there are problems, with how many, and when stdout can't be written to.
    pub fn print(&self, format: Option<Format>) -> anyhow::Result<()> {
        match format {
            Some(Format::Json) => output::json(self)?,
            Some(Format::Yaml) => output::yaml(self)?,
            None => output::styled(&self.findings.iter().map(block).collect::<Vec<_>>().concat())?,
        }
        let summary = self.summary();
        if self.problems > 0 {
            bail!("{}: {summary}", self.cluster);
        }
        output::say(self.cluster, &summary);
        Ok(())
    }

    fn summary(&self) -> String {
        let counted = |count: usize, what: &str| {
            if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
        };
        let seen = [(self.links, "link"), (self.imports, "import"), (self.pods, "pod")];
        let seen = seen.map(|(count, what)| counted(count, what)).join(", ");
        match (self.problems, self.warnings) {
            (0, 0) => format!("all well: {seen}"),
            (problems, warnings) => {
                format!("{}, {} ({seen})", counted(problems, "problem"), counted(warnings, "warning"))
            }
        }
    }
}

/// What people read of a finding; the mend stands on a line of its own, for pasting.
fn block(finding: &Finding) -> String {
    let Finding { severity, object, reason, message, mend } = finding;
    let (style, word) = match severity {
        Severity::Problem => (PROBLEM, "problem"),
        Severity::Warning => (WARNING, "warning"),
    };
    let title = object::titled(&object.kind, object.namespace.as_deref(), &object.name);
    // Whatever an object says, it is told on one line.
    let (reason, message) = (errors::short(reason), errors::short(message));
    format!("{style}{word}{style:#}  {title}: {reason}\n    {message}\n    {mend}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::finding::Subject;

    #[test]
    fn a_finding_for_people() {
        let object = Subject::namespaced("ServiceAccountImport", "team", "a");
        let finding = Finding::problem(object, "Forbidden", "c2 says\nno", "kubectl get x".into());
        let text = anstream::adapter::strip_str(&block(&finding)).to_string();
        assert_eq!(
            text,
            "problem  service account import team/a: Forbidden\n    c2 says no\n    kubectl get x\n\n"
        );
    }

    #[test]
    fn a_summary() {
        let facts = Facts { links: Some(vec![Default::default()]), ..Default::default() };
        assert_eq!(Report::of("c1", &facts, &[]).summary(), "all well: 1 link, 0 imports, 0 pods");
        let finding = Finding::warning(Subject::global("Pod", "a"), "NotSeen", "", String::new());
        let findings = [finding];
        let report = Report::of("c1", &facts, &findings);
        assert_eq!(report.summary(), "0 problems, 1 warning (1 link, 0 imports, 0 pods)");
    }
}
