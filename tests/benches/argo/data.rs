//! Scenario B: each of two steps runs where its data is, and a third one adds up their results at home. One of the
//! three runs in the source. The figure is compared with the same workflow whose steps all run at home.

use crate::both::{Both, Forms};
use crate::clusters::Clusters;
use crate::table::{Goal, Section};
use crate::workflow::example;

const WORKFLOW: &str = include_str!("../../../examples/argo/scenario-b.yaml");

/// The sum of all amounts in the workflow.
const TOTAL: &str = "83";

pub struct Data(Both);

impl Data {
    pub async fn measure(clusters: &Clusters, rounds: u32) -> anyhow::Result<Self> {
        let forms = Forms {
            home: example(WORKFLOW, &[("value: c2", "value: c1")])?,
            remote: example(WORKFLOW, &[])?,
            remote_steps: 1,
            output: Some(TOTAL),
        };
        Both::measure(clusters, &forms, rounds).await.map(Self)
    }

    pub fn section(&self) -> Section<String> {
        Section {
            title: "Scenario B: three steps, one of them where its data is; median".to_owned(),
            rows: self.0.rows(["with one step in the source", "with all steps at home"], 1),
        }
    }

    /// No path through the workflow has more than one remote step.
    pub fn goal(&self) -> Goal {
        self.0.goal("scenario B", 1)
    }
}
