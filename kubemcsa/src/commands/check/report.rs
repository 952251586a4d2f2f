//! Last step: prints the findings as text, JSON or YAML.

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

/// The report. `-o json` and `-o yaml` print it as it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'a> {
    cluster: &'a str,
    findings: &'a [Finding],
    problems: usize,
    warnings: usize,
    links: usize,
    imports: usize,
    pods: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn of(cluster: &'a str, facts: &Facts, findings: &'a [Finding]) -> Self {
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

    /// Prints the report. Fails if there are problems, so that the exit code is not 0.
    pub(crate) fn print(&self, format: Option<Format>) -> anyhow::Result<()> {
        match format {
            Some(Format::Json) => output::json(self)?,
            Some(Format::Yaml) => output::yaml(self)?,
            None => output::styled(&self.findings.iter().map(text).collect::<Vec<_>>().concat())?,
        }
        let summary = self.summary();
        if self.problems > 0 {
            bail!("{}: {summary}", self.cluster);
        }
        output::info(self.cluster, &summary);
        Ok(())
    }

    fn summary(&self) -> String {
        let counted = |count: usize, noun: &str| {
            if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
        };
        let checked = [(self.links, "link"), (self.imports, "import"), (self.pods, "pod")];
        let checked = checked.map(|(count, noun)| counted(count, noun)).join(", ");
        match (self.problems, self.warnings) {
            (0, 0) => format!("no problems ({checked})"),
            (problems, warnings) => {
                format!("{}, {} ({checked})", counted(problems, "problem"), counted(warnings, "warning"))
            }
        }
    }
}

/// A finding as text. The fix is on a line of its own, for pasting.
fn text(finding: &Finding) -> String {
    let Finding { severity, object, reason, message, fix } = finding;
    let (style, word) = match severity {
        Severity::Problem => (PROBLEM, "problem"),
        Severity::Warning => (WARNING, "warning"),
    };
    let title = object::titled(&object.kind, object.namespace.as_deref(), &object.name);
    // Conditions can have any content: print them on one line.
    let (reason, message) = (errors::short(reason), errors::short(message));
    format!("{style}{word}{style:#}  {title}: {reason}\n    {message}\n    {fix}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::finding::Subject;

    #[test]
    fn finding_is_printed_with_its_fix() {
        let object = Subject::namespaced("ServiceAccountImport", "team", "a");
        let finding = Finding::problem(object, "Forbidden", "c2 says\nno", "kubectl get x".into());
        let printed = anstream::adapter::strip_str(&text(&finding)).to_string();
        assert_eq!(
            printed,
            "problem  service account import team/a: Forbidden\n    c2 says no\n    kubectl get x\n\n"
        );
    }

    #[test]
    fn summary_counts_findings_and_objects() {
        let facts = Facts { links: Some(vec![Default::default()]), ..Default::default() };
        assert_eq!(Report::of("c1", &facts, &[]).summary(), "no problems (1 link, 0 imports, 0 pods)");
        let findings =
            [Finding::warning(Subject::cluster_scoped("Pod", "a"), "NotChecked", "", String::new())];
        let report = Report::of("c1", &facts, &findings);
        assert_eq!(report.summary(), "0 problems, 1 warning (1 link, 0 imports, 0 pods)");
    }
}
