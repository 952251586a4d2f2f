//! The results as a table.

use super::case::Case;
use super::program::Program;
use super::run::Run;

pub(super) struct Row {
    pub(super) case: Case,
    pub(super) runs: Vec<(Program, Run)>,
    pub(super) problems: Vec<String>,
}

/// One line for each case: what each program did.
pub(super) fn all(rows: &[Row]) -> String {
    let mut table = format!("{:56} {:9} {:9} {:9} as expected\n", "case", "kubectl", "kubemcsa", "crate");
    for row in rows {
        table += &format!("{:56}", row.case.name);
        for (_, run) in &row.runs {
            table += &format!(" {:9}", outcome(run));
        }
        table += if row.problems.is_empty() { " yes\n" } else { " NO\n" };
    }
    table
}

/// The cases that did not go as expected, with the problems and the errors.
pub(super) fn failures(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| !row.problems.is_empty()) {
        text += &format!("{}\n", row.case.name);
        for problem in &row.problems {
            text += &format!("  - {problem}\n");
        }
        for (program, run) in &row.runs {
            text += &format!("    {} {}: {}\n", program.name(), outcome(run), run.error());
        }
    }
    text
}

fn outcome(run: &Run) -> &'static str {
    match run.code {
        Some(0) => "works",
        Some(1) => "fails",
        Some(_) => "crashes",
        None => "hangs",
    }
}
