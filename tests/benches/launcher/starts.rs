//! Measures the time from the creation of a pod until it is Running, at home and straight in the source.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::wait::conditions::is_pod_running;
use mcsa_tests::Launched;
use serde_json::Value;

use crate::fixture::{self, create, delete, pods, shell, wait};
use crate::table::{Goal, Row, Section};
use crate::units::median;

/// Ends at once when it is told to.
const SCRIPT: &str = "trap 'exit 0' TERM; sleep 600 & wait";

/// Largest ratio of both sides.
const LIMIT: f64 = 1.05;

/// How long pods take until they are Running.
pub struct Starts {
    /// A pod at home, until it is Running there.
    home: Vec<Duration>,
    /// A pod in the source, until it is Running there.
    direct: Vec<Duration>,
}

impl Starts {
    /// Starts pods on both sides alternately, and deletes each before the next one.
    pub async fn measure(launched: &Launched, rounds: u32) -> anyhow::Result<Self> {
        let (home, source) = (pods(launched.home.client()), pods(launched.source.client()));
        let mut starts = Self { home: Vec::new(), direct: Vec::new() };
        for round in 0..rounds {
            let pod = shell(&format!("launched-{round}"), SCRIPT);
            starts.home.push(start(&home, fixture::launched(pod, launched)).await?);
            starts.direct.push(start(&source, shell(&format!("direct-{round}"), SCRIPT)).await?);
        }
        Ok(starts)
    }

    fn ratio(&self) -> f64 {
        median(&self.home).as_secs_f64() / median(&self.direct).as_secs_f64()
    }

    pub fn section(&self) -> Section {
        let row = |what, of: fn(&[Duration]) -> Duration| {
            Row::new(
                what,
                millis(of(&self.home)),
                format!("{} straight in the source", millis(of(&self.direct))),
            )
        };
        Section {
            title: "Time from a pod's creation until it is Running, one pod at a time",
            rows: vec![
                row("median", median),
                row("shortest", |all| all.iter().min().copied().unwrap_or_default()),
                row("longest", |all| all.iter().max().copied().unwrap_or_default()),
                Row::new(
                    "ratio of the medians",
                    format!("{:.2}", self.ratio()),
                    format!("1.00; goal {LIMIT:.2}"),
                ),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        Goal {
            what: format!("time until Running, divided by that straight in the source: at most {LIMIT:.2}"),
            figure: format!("{:.2}", self.ratio()),
            is_met: self.ratio() <= LIMIT,
        }
    }
}

/// Creates a pod, waits until it is Running, and deletes it. Returns how long it took to run.
async fn start(pods: &Api<Pod>, pod: Value) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let pod = create(pods, pod).await?;
    wait(pods, pod.metadata.name.as_deref().unwrap_or_default(), "Running", is_pod_running()).await?;
    let duration = start.elapsed();
    delete(pods, &pod).await?;
    Ok(duration)
}

fn millis(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
