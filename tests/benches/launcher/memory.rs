//! Measures the memory of the launcher, idle and with many pods.
//!
//! One machine can't run that many pods. No node of the source takes them, and the bench writes their status instead,
//! as a kubelet reports it.

use anyhow::Context;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::conditions::is_pod_running;
use mcsa_tests::Launched;
use serde_json::{Value, json};

use crate::fixture::{self, create, pods, wait};
use crate::pods::{name, pod, running};
use crate::table::{Goal, Row, Section};
use crate::units::mib;
use crate::usage;

/// Number of pods that are created at a time.
const CONCURRENCY: usize = 32;

/// The smaller number of pods.
const FEW: u32 = 100;

/// The number of pods that the goal is about.
const MANY: u32 = 10_000;

/// The limits while idle, and with [`MANY`] pods, in KiB.
const IDLE_LIMIT: u64 = 16 << 10;
const LIMIT: u64 = 64 << 10;

/// Resident memory of the launcher, in KiB.
pub struct Memory {
    /// Before the first pod.
    idle: u64,
    /// After the other figures, without a pod.
    before: u64,
    few: u64,
    all: u64,
    peak: u64,
    pods: u32,
}

pub fn rss(launched: &Launched) -> anyhow::Result<u64> {
    launched.launcher().rss_kib().context("the launcher has ended")
}

impl Memory {
    pub async fn measure(launched: &Launched, idle: u64, pods: u32) -> anyhow::Result<Self> {
        let before = rss(launched)?;
        run(launched, 0..FEW).await?;
        let few = rss(launched)?;
        run(launched, FEW..pods).await?;
        let usage::Memory { rss_kib: all, peak_kib: peak } = usage::Memory::of(launched.launcher().id())?;
        Ok(Self { idle, before, few, all, peak, pods })
    }

    /// Memory of one pod, in KiB.
    fn per_pod(&self) -> f64 {
        (self.all as f64 - self.few as f64) / f64::from(self.pods - FEW)
    }

    /// Memory with [`MANY`] pods, in KiB.
    fn with_many(&self) -> u64 {
        (self.all as f64 + self.per_pod() * f64::from(MANY - self.pods)) as u64
    }

    pub fn section(&self) -> Section {
        let row = |what, kib: u64, reference: &str| Row::new(what, mib(kib << 10), reference);
        let per_pod = format!("{:.1} KiB", self.per_pod());
        Section {
            title: "The launcher's resident memory; pods that no node runs: the bench writes their status",
            rows: vec![
                row("idle, one source, before the first pod", self.idle, "at most 16.0 MiB"),
                row("idle, after all figures above", self.before, ""),
                row("with 100 pods", self.few, ""),
                row("with all pods", self.all, ""),
                Row::new("each pod more", per_pod, ""),
                row("with 10,000 pods, by that", self.with_many(), "at most 64.0 MiB"),
                row("peak", self.peak, ""),
            ],
        }
    }

    pub fn goals(&self) -> [Goal; 2] {
        [
            ("idle memory at most 16 MiB".to_owned(), self.idle, IDLE_LIMIT),
            (format!("memory with {MANY} pods at most 64 MiB"), self.with_many(), LIMIT),
        ]
        .map(|(what, kib, limit)| Goal { what, figure: mib(kib << 10), is_met: kib <= limit })
    }
}

/// Creates pods at home, and waits until all are Running.
async fn run(launched: &Launched, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
    let (home, source) = (pods(launched.home.client()), pods(launched.source.client()));
    let all = stream::iter(numbers).map(|number| run_one(launched, &home, &source, number));
    all.buffer_unordered(CONCURRENCY).try_collect().await
}

async fn run_one(launched: &Launched, home: &Api<Pod>, source: &Api<Pod>, number: u32) -> anyhow::Result<()> {
    let name = name(number);
    create(home, fixture::launched(without_node(pod(number), launched), launched)).await?;
    wait(source, &name, "created", |pod: Option<&Pod>| pod.is_some()).await?;
    let parameters = PatchParams { field_manager: Some("kubelet".into()), ..Default::default() };
    source.patch_status(&name, &parameters, &Patch::Strategic(running(number))).await?;
    wait(home, &name, "Running", is_pod_running()).await
}

/// The pod without an owner, which garbage collection would miss, on any node but the source's real one.
fn without_node(mut pod: Value, launched: &Launched) -> Value {
    pod["metadata"]["ownerReferences"] = json!([]);
    pod["spec"]["nodeName"] = Value::Null;
    let not_there = json!({
        "key": "kubernetes.io/hostname", "operator": "NotIn",
        "values": [format!("{}-node", launched.source.name())],
    });
    pod["spec"]["affinity"] = json!({ "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [not_there] }],
        },
    } });
    pod
}
