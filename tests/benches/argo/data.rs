//! Scenario B: each of two steps runs where its data is, and a third one adds up their results at home. One of the
//! three runs in the source. The figure is compared with the same workflow whose steps all run at home.

use crate::both::{Both, Forms};
use crate::clusters::Clusters;
use crate::table::{Goal, Row, Section};
use crate::units::seconds;
use crate::workflow::example;

const WORKFLOW: &str = include_str!("../../../examples/argo/scenario-b.yaml");

/// The sum of all amounts in the workflow.
const TOTAL: &str = "83";

/// The largest difference, in seconds: no path through the workflow has more than one remote step.
const LIMIT: f64 = 1.0;

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
        let Self(both) = self;
        Section {
            title: "Scenario B: three steps, one of them where its data is; median".to_owned(),
            rows: vec![
                Row::new(
                    "with one step in the source",
                    seconds(both.remote()),
                    format!("{} with all steps at home", seconds(both.home())),
                ),
                Row::new("ratio", format!("{:.2}", both.ratio()), "1.00"),
                Row::new(
                    "difference",
                    format!("{:.2} s", both.difference()),
                    format!("goal: below {LIMIT:.2} s"),
                ),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        let Self(both) = self;
        Goal {
            what: format!("scenario B takes less than {LIMIT:.0} s longer than at home"),
            figure: format!("{:.2} s", both.difference()),
            is_met: both.difference() < LIMIT,
        }
    }
}
