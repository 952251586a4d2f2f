//! Steps that do nothing, one after another: what it costs a step to run in the source.

use mcsa_tests::TOOLS_IMAGE;
use serde_json::{Value, json};

use crate::both::{Both, Forms};
use crate::clusters::Clusters;
use crate::table::{Goal, Section};
use crate::workflow::workflow;

/// Number of steps.
pub const STEPS: u32 = 10;

pub struct Chain(Both);

/// Runs a step in each cluster. The first pod of a node takes longer than the next ones.
pub async fn warm_up(clusters: &Clusters) -> anyhow::Result<()> {
    Both::measure(clusters, &forms(clusters, 1), 1).await.map(drop)
}

impl Chain {
    pub async fn measure(clusters: &Clusters, rounds: u32) -> anyhow::Result<Self> {
        Both::measure(clusters, &forms(clusters, STEPS), rounds).await.map(Self)
    }

    pub fn section(&self) -> Section<String> {
        Section {
            title: format!("{STEPS} steps that do nothing, one after another; the time of one step, median"),
            rows: self.0.rows(["in the source", "at home"], STEPS),
        }
    }

    pub fn goal(&self) -> Goal {
        self.0.goal("a step in the source", STEPS)
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
