//! Scenario A, a workflow that is too large for one cluster: in one cluster, and spread over two.
//!
//! Its ten steps sleep, so processors do not limit how many run at the same time, but the room of nodes does: each step
//! requests a sixth of a node. Another pod leaves room for four steps at home, so one cluster takes three rounds. Both
//! clusters together have room for all ten. At least one step must run in the source; the table shows how many do.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_pod_running;
use mcsa_tests::TOOLS_IMAGE;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::clusters::{Clusters, NAMESPACE, millicores};
use crate::table::{Goal, Row, Section};
use crate::units::seconds;
use crate::workflow::{LIMIT, Run, example, run};

const WORKFLOW: &str = include_str!("../../../examples/argo/scenario-a.yaml");

/// The annotation of all steps, in the workflow.
const ELECT: &str = "annotations:\n      multicluster.admiralty.io/elect: \"\"";

/// Number of steps for which home has room.
const HOME_ROOM: u32 = 4;

/// Number of steps for which the source has room.
const SOURCE_ROOM: u32 = 6;

/// The least quotient. A published run of this scenario took 76 s in one cluster and 31 s in two.
const GOAL: f64 = 2.45;

/// The pod that takes room at home.
const OTHER_POD: &str = "other-work";

/// One run of the workflow in each way.
pub struct Room {
    one_cluster: Run,
    two_clusters: Run,
}

impl Room {
    /// Each step sleeps for this many seconds.
    pub async fn measure(clusters: &Clusters, step_seconds: u32) -> anyhow::Result<Self> {
        let step = millicores(&clusters.source).await? / SOURCE_ROOM;
        let other = millicores(&clusters.home).await?.saturating_sub(HOME_ROOM * step);
        let pods = Api::<Pod>::namespaced(clusters.home.client(), NAMESPACE);
        pods.create(&PostParams::default(), &serde_json::from_value(other_pod(other))?).await?;
        let is_running = timeout(LIMIT, await_condition(pods.clone(), OTHER_POD, is_pod_running())).await;
        is_running.with_context(|| format!("pod {OTHER_POD} is not Running after {LIMIT:?}"))??;
        let (command, request) = (format!("[sleep, \"{step_seconds}\"]"), format!("cpu: {step}m"));
        let workflow = |annotations: &str| {
            let steps = [("[sleep, \"5\"]", &*command), ("cpu: 100m", &*request), (ELECT, annotations)];
            example(WORKFLOW, &steps)
        };
        let two_clusters = run(clusters, &workflow(ELECT)?, LIMIT).await?;
        let one_cluster = run(clusters, &workflow("annotations: {}")?, LIMIT).await?;
        pods.delete(OTHER_POD, &DeleteParams::default()).await?;
        ensure!(two_clusters.remote_steps > 0, "no step of scenario A ran in the source");
        ensure!(one_cluster.remote_steps == 0, "steps ran in the source without the annotation");
        Ok(Self { one_cluster, two_clusters })
    }

    fn quotient(&self) -> f64 {
        self.one_cluster.duration.as_secs_f64() / self.two_clusters.duration.as_secs_f64()
    }

    pub fn section(&self) -> Section<String> {
        let remote_steps = self.two_clusters.remote_steps.to_string();
        Section {
            title: format!(
                "Scenario A: all steps at once; home has room for {HOME_ROOM}, the source for {SOURCE_ROOM}; one run"
            ),
            rows: vec![
                Row::new(
                    "in two clusters",
                    seconds(self.two_clusters.duration),
                    format!("{} in one cluster", seconds(self.one_cluster.duration)),
                ),
                Row::new(
                    "one cluster, divided by two clusters",
                    format!("{:.2}", self.quotient()),
                    format!("3.00 if starts took no time; goal {GOAL:.2}, as in a published run"),
                ),
                Row::new("steps in the source", remote_steps, SOURCE_ROOM.to_string()),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        Goal {
            what: format!("scenario A in one cluster, divided by that in two: at least {GOAL:.2}"),
            figure: format!("{:.2}", self.quotient()),
            is_met: self.quotient() >= GOAL,
        }
    }
}

/// A pod that does nothing, and requests this many thousandths of a core.
fn other_pod(millicores: u32) -> Value {
    json!({
        "metadata": { "name": OTHER_POD },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main",
                "image": TOOLS_IMAGE,
                "command": ["sleep", "infinity"],
                "resources": { "requests": { "cpu": format!("{millicores}m") } },
            }],
        },
    })
}
