//! Measures all implementations alternately, so that other load on the machine affects all of them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use mcsa_tests::Process;
use tempfile::TempDir;

use crate::args::Args;
use crate::controller_process::{Figures, Implementation, RunOptions};
use crate::recording::Recording;
use crate::replay::{Replay, TRICKLE};

/// Deadline of each process.
const LIMIT: Duration = Duration::from_secs(300);

/// Number of clusters in "a few clusters".
const FEW: u32 = 2;

/// The figures of all rounds.
pub struct Rounds {
    /// Number of pods.
    pub pods: u32,
    /// Number of changes to each pod.
    pub laps: u32,
    /// Number of clusters in "many clusters".
    pub many_clusters: u32,
    /// kube's controller of one cluster.
    pub kube: Vec<Figures>,
    /// Our controller of one cluster.
    pub one: Vec<Figures>,
    /// Our controller of a few clusters.
    pub few: Vec<Figures>,
    /// Our controller of many clusters.
    pub many: Vec<Figures>,
    /// A reader that ignores the events.
    pub reader: Vec<Figures>,
}

impl Rounds {
    pub async fn measure(args: &Args, recording: Recording) -> anyhow::Result<Self> {
        let Args { pods, laps, clusters, .. } = *args;
        let authority = recording.authority.clone();
        let replay = Replay::start(recording, laps).await?;
        let options = RunOptions {
            implementation: Implementation::Reader,
            server: replay.address,
            run: 0,
            pods,
            laps,
            authority,
        };
        let mut runner = Runner { options, logs: tempfile::tempdir()?, _replay: replay };
        let (kube, one, few, many) = Default::default();
        let reader = vec![runner.run(Implementation::Reader).await?];
        let mut rounds = Self { pods, laps, many_clusters: clusters, kube, one, few, many, reader };
        for _ in 0..args.rounds {
            rounds.kube.push(runner.run(Implementation::Kube).await?);
            rounds.one.push(runner.run(Implementation::Ours(1)).await?);
            rounds.few.push(runner.run(Implementation::Ours(FEW)).await?);
            rounds.many.push(runner.run(Implementation::Ours(clusters)).await?);
        }
        Ok(rounds)
    }

    /// Number of events in the laps of a round.
    pub fn events(&self) -> f64 {
        f64::from(self.pods) * f64::from(self.laps)
    }

    /// Number of events that arrive one by one in a round.
    pub fn single_events(&self) -> f64 {
        (self.pods as usize).div_ceil(TRICKLE) as f64
    }
}

/// Runs each implementation in a process of its own.
struct Runner {
    options: RunOptions,
    logs: TempDir,
    _replay: Replay,
}

impl Runner {
    async fn run(&mut self, implementation: Implementation) -> anyhow::Result<Figures> {
        self.options.run += 1;
        self.options.implementation = implementation;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--as-controller").arg(serde_json::to_string(&self.options)?);
        let log = self.logs.path().join(format!("{}.log", self.options.run));
        let process = Process::spawn(format!("{implementation:?}"), &command, log)?;
        let status = process.wait(LIMIT).await?;
        let log = process.log();
        ensure!(status.success(), "{implementation:?} ended with {status}:\n{log}");
        let figures = log.lines().last().and_then(|line| serde_json::from_str(line).ok());
        figures.with_context(|| format!("{implementation:?} printed no figures:\n{log}"))
    }
}
