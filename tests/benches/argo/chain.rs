//! Steps that do nothing, one after another: what it costs a step to run in the source.

use std::time::Duration;

use mcsa_tests::TOOLS_IMAGE;
use serde_json::{Value, json};

use crate::both::{Both, Forms};
use crate::clusters::Clusters;
use crate::table::{Goal, Row, Section};
use crate::workflow::workflow;

/// Number of steps.
pub const STEPS: u32 = 10;

/// How much longer a step may take in the source, in seconds.
const LIMIT: f64 = 1.0;

pub struct Chain(Both);

/// Runs a step in each cluster. The first pod of a node takes longer than the next ones.
pub async fn warm_up(clusters: &Clusters) -> anyhow::Result<()> {
    Both::measure(clusters, &forms(clusters, 1), 1).await.map(drop)
}

impl Chain {
    pub async fn measure(clusters: &Clusters, rounds: u32) -> anyhow::Result<Self> {
        Both::measure(clusters, &forms(clusters, STEPS), rounds).await.map(Self)
    }

    /// How much longer a step takes in the source, in seconds.
    fn difference(&self) -> f64 {
        self.0.difference() / f64::from(STEPS)
    }

    pub fn section(&self) -> Section<String> {
        let Self(both) = self;
        let of_step = |all: Duration| format!("{:.2} s", all.as_secs_f64() / f64::from(STEPS));
        Section {
            title: format!("{STEPS} steps that do nothing, one after another; the time of one step, median"),
            rows: vec![
                Row::new(
                    "in the source",
                    of_step(both.remote()),
                    format!("{} at home", of_step(both.home())),
                ),
                Row::new("ratio", format!("{:.2}", both.ratio()), "1.00"),
                Row::new(
                    "difference",
                    format!("{:.2} s", self.difference()),
                    format!("goal: below {LIMIT:.2} s"),
                ),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        Goal {
            what: format!("a step takes less than {LIMIT:.0} s longer in the source than at home"),
            figure: format!("{:.2} s", self.difference()),
            is_met: self.difference() < LIMIT,
        }
    }
}

fn forms(clusters: &Clusters, steps: u32) -> Forms {
    let form = |cluster: &str| workflow("chain", cluster, templates(steps));
    Forms {
        home: form(clusters.home.name()),
        remote: form(clusters.source.name()),
        remote_steps: steps as usize,
        output: None,
    }
}

fn templates(steps: u32) -> Value {
    let step = |number: u32| json!([{ "name": format!("step-{number}"), "template": "step" }]);
    let steps: Vec<Value> = (0..steps).map(step).collect();
    json!([
        { "name": "main", "steps": steps },
        { "name": "step", "container": { "image": TOOLS_IMAGE, "command": ["busybox", "true"] } },
    ])
}
