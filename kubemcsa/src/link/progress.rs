//! Progress of a link: a line for each step, or, with several sources, one changing line for each source.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::output;
use crate::cluster::apply::Outcome;

const TICK: Duration = Duration::from_millis(120);

#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// A line for each step.
    Lines,
    /// One line that shows the latest step; warnings get lines of their own.
    Line(ProgressBar),
}

impl Progress {
    /// Adds a line for a source. It is hidden if stderr is not a terminal.
    pub(crate) fn line(lines: &MultiProgress, source: &str) -> Self {
        let line = lines.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:.cyan.bold}  {wide_msg}") {
            line.set_style(style);
        }
        line.set_prefix(source.to_owned());
        line.enable_steady_tick(TICK);
        Self::Line(line)
    }

    pub(crate) fn info(&self, cluster: &str, text: &str) {
        match self {
            Self::Lines => output::info(cluster, text),
            Self::Line(line) => line.set_message(text.to_owned()),
        }
    }

    pub(crate) fn warn(&self, cluster: &str, text: &str) {
        match self {
            Self::Lines => output::warn(cluster, text),
            Self::Line(line) => line.suspend(|| output::warn(cluster, text)),
        }
    }

    /// Reports what was done to an object; see [`output::outcome`].
    pub(crate) fn outcome(&self, cluster: &str, reference: &str, outcome: Outcome) {
        match self {
            Self::Lines => output::outcome(cluster, reference, outcome),
            Self::Line(line) => line.set_message(format!("{reference} {}", outcome.word())),
        }
    }

    /// Removes the changing line, and prints the result.
    pub(crate) fn finish(&self, print_result: impl FnOnce()) {
        match self {
            Self::Lines => print_result(),
            Self::Line(line) => {
                line.finish_and_clear();
                line.suspend(print_result);
            }
        }
    }
}
