//! Runs a workflow with its steps at home, and the same one with steps in the source.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

use crate::clusters::Clusters;
use crate::table::{Goal, Row};
use crate::units::median;
use crate::workflow::{LIMIT, Run, run};

/// How much longer the remote form may take, in seconds.
const MAX_DIFFERENCE: f64 = 1.0;

/// A workflow in two forms.
pub struct Forms {
    /// All steps run at home.
    pub home: Value,
    /// Some or all steps run in the source.
    pub remote: Value,
    /// Number of the steps that run in the source.
    pub remote_steps: usize,
    /// What both have as their first output parameter.
    pub output: Option<&'static str>,
}

/// How long both forms take.
#[derive(Default)]
pub struct Both {
    home: Vec<Duration>,
    remote: Vec<Duration>,
}

impl Both {
    /// Runs both forms alternately.
    pub async fn measure(clusters: &Clusters, forms: &Forms, rounds: u32) -> anyhow::Result<Self> {
        Self::measure_within(LIMIT, clusters, forms, rounds).await
    }

    /// The same, with another limit of a run.
    pub async fn measure_within(
        limit: Duration,
        clusters: &Clusters,
        forms: &Forms,
        rounds: u32,
    ) -> anyhow::Result<Self> {
        let mut both = Self::default();
        for _ in 0..rounds {
            both.remote.push(forms.check(run(clusters, &forms.remote, limit).await?, forms.remote_steps)?);
            both.home.push(forms.check(run(clusters, &forms.home, limit).await?, 0)?);
        }
        Ok(both)
    }

    /// Durations, ratio and difference; the first and the last are divided by `parts`. `forms`: in words, the remote one and
    /// the one at home.
    pub fn rows(&self, forms: [&'static str; 2], parts: u32) -> Vec<Row> {
        let of_part = |all: Duration| format!("{:.2} s", all.as_secs_f64() / f64::from(parts));
        let (remote, home) = (of_part(self.remote()), of_part(self.home()));
        let difference = format!("{:.2} s", self.difference() / f64::from(parts));
        vec![
            Row::new(forms[0], remote, format!("{home} {}", forms[1])),
            Row::new("ratio", format!("{:.2}", self.ratio()), "1.00"),
            Row::new("difference", difference, format!("goal: below {MAX_DIFFERENCE:.2} s")),
        ]
    }

    /// The goal that the remote form takes at most [`MAX_DIFFERENCE`] longer for each of `parts`.
    pub fn goal(&self, what: &str, parts: u32) -> Goal {
        let difference = self.difference() / f64::from(parts);
        Goal {
            what: format!("{what} takes less than {MAX_DIFFERENCE:.0} s longer than at home"),
            figure: format!("{difference:.2} s"),
            is_met: difference < MAX_DIFFERENCE,
        }
    }

    /// The median with all steps at home.
    pub fn home(&self) -> Duration {
        median(&self.home)
    }

    /// The median with steps in the source.
    pub fn remote(&self) -> Duration {
        median(&self.remote)
    }

    /// How much longer the remote form takes.
    pub fn ratio(&self) -> f64 {
        self.remote().as_secs_f64() / self.home().as_secs_f64()
    }

    /// How many seconds longer the remote form takes.
    pub fn difference(&self) -> f64 {
        self.remote().as_secs_f64() - self.home().as_secs_f64()
    }
}

impl Forms {
    fn check(&self, run: Run, remote_steps: usize) -> anyhow::Result<Duration> {
        let (ran, output) = (run.remote_steps, run.output.as_deref());
        ensure!(ran == remote_steps, "{ran} instead of {remote_steps} steps ran in the source");
        ensure!(output == self.output, "the output is {output:?} instead of {:?}", self.output);
        Ok(run.duration)
    }
}
