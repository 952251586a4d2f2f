//! How people are told what happens to a link: line by line, or, where there are many, by one line that
//! changes.

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output;
use crate::cluster::apply::Outcome;

/// Who speaks about one link.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A line for each step.
    Lines,
    /// One line for all steps, on a terminal; warnings are lines of their own.
    Line(ProgressBar),
}

impl Progress {
    /// One line about a source, below those that there are. Where stderr is no terminal, it is not seen.
    pub fn line(lines: &indicatif::MultiProgress, source: &str) -> Self {
        let line = lines.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:.cyan.bold}  {wide_msg}") {
            line.set_style(style);
        }
        line.set_prefix(source.to_owned());
        line.enable_steady_tick(std::time::Duration::from_millis(120));
        Self::Line(line)
    }

    /// Says something about a cluster.
    pub fn say(&self, cluster: &str, text: &str) {
        match self {
            Self::Lines => output::say(cluster, text),
            Self::Line(line) => line.set_message(text.to_owned()),
        }
    }

    /// Says that something is not as it should be.
    pub fn warn(&self, cluster: &str, text: &str) {
        match self {
            Self::Lines => output::warn(cluster, text),
            Self::Line(line) => line.suspend(|| output::warn(cluster, text)),
        }
    }

    /// Says what became of an object.
    pub fn outcome(&self, cluster: &str, reference: &str, outcome: Outcome) {
        match self {
            Self::Lines => output::outcome(cluster, reference, outcome),
            Self::Line(line) => line.set_message(format!("{reference} {}", outcome.word())),
        }
    }

    /// Takes the line away, and leaves this one for good.
    pub fn end(&self, tell: impl FnOnce()) {
        match self {
            Self::Lines => tell(),
            Self::Line(line) => {
                line.finish_and_clear();
                line.suspend(tell);
            }
        }
    }
}
