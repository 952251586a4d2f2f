//! Many steps that do not wait for each other, and one that gets all their results.
//!
//! The last step fails unless it gets the results of all others, and with it the workflow.

use std::time::Duration;

use mcsa_tests::TOOLS_IMAGE;
use serde_json::{Value, json};

use crate::both::{Both, Forms};
use crate::clusters::Clusters;
use crate::table::{Goal, Row, Section};
use crate::units::seconds;
use crate::workflow::{LIMIT, workflow};

/// Number of steps that run at the same time.
const PARALLELISM: u32 = 20;

/// How long the workflow may take for each step, in addition to [`LIMIT`].
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// Least share of the throughput at home.
const GOAL: f64 = 0.8;

pub struct FanOut {
    both: Both,
    steps: u32,
}

impl FanOut {
    pub async fn measure(clusters: &Clusters, steps: u32) -> anyhow::Result<Self> {
        let form = |cluster: &str| {
            let mut workflow = workflow("fan-out", cluster, templates(steps));
            workflow["spec"]["parallelism"] = PARALLELISM.into();
            workflow
        };
        let forms = Forms {
            home: form(clusters.home.name()),
            remote: form(clusters.source.name()),
            remote_steps: steps as usize + 1,
            output: None,
        };
        let both = Both::measure_within(LIMIT + steps * STEP_LIMIT, clusters, &forms, 1).await?;
        Ok(Self { both, steps })
    }

    /// The throughput in the source, divided by that at home.
    fn share(&self) -> f64 {
        1.0 / self.both.ratio()
    }

    pub fn section(&self) -> Section<String> {
        let (remote, home) = (self.both.remote(), self.both.home());
        let rate = |duration: Duration| format!("{:.2}/s", f64::from(self.steps) / duration.as_secs_f64());
        Section {
            title: format!(
                "Many steps, {PARALLELISM} at a time, and one that gets all their results; one run"
            ),
            rows: vec![
                Row::new("in the source", seconds(remote), format!("{} at home", seconds(home))),
                Row::new("steps", rate(remote), format!("{} at home", rate(home))),
                Row::new(
                    "throughput, divided by that at home",
                    format!("{:.2}", self.share()),
                    format!("1.00; goal {GOAL:.2}"),
                ),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        let steps = self.steps;
        Goal {
            what: format!("throughput of {steps} steps, divided by that at home: at least {GOAL:.2}"),
            figure: format!("{:.2}", self.share()),
            is_met: self.share() >= GOAL,
        }
    }
}

/// Each step writes its number. The last one compares the list of all results with that of all numbers.
fn templates(steps: u32) -> Value {
    let numbers: Vec<String> = (0..steps).map(|number| number.to_string()).collect();
    let condition = format!("[ '{{{{inputs.parameters.value}}}}' = '[{}]' ]", numbers.join(","));
    let mut write = step("write", "{{item}}");
    write["withSequence"] = json!({ "count": steps.to_string() });
    let steps = json!([[write], [step("check", "{{steps.write.outputs.result}}")]]);
    json!([
        { "name": "main", "steps": steps },
        script("write", "echo {{inputs.parameters.value}}"),
        script("check", &condition),
    ])
}

/// A step that passes a value to the template of its name.
fn step(name: &str, value: &str) -> Value {
    let arguments = json!({ "parameters": [{ "name": "value", "value": value }] });
    json!({ "name": name, "template": name, "arguments": arguments })
}

/// A template with a shell script, which refers to its input parameter `value`.
fn script(name: &str, source: &str) -> Value {
    json!({
        "name": name,
        "inputs": { "parameters": [{ "name": "value" }] },
        "script": { "image": TOOLS_IMAGE, "command": ["sh"], "source": source },
    })
}
