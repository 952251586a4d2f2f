//! Measures all contestants in turns, so that noise affects all of them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use mcsa_tests::Process;
use tempfile::TempDir;

use crate::args::Args;
use crate::contestant::{Contest, Figures, Who};
use crate::recording::Recording;
use crate::replay::{Replay, TRICKLE};

/// Deadline for a contestant.
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
    /// A reader that does nothing with the events.
    pub reader: Vec<Figures>,
}

impl Rounds {
    pub async fn measure(args: &Args, recording: Recording) -> anyhow::Result<Self> {
        let Args { pods, laps, clusters, .. } = *args;
        let authority = recording.authority.clone();
        let replay = Replay::start(recording, laps).await?;
        let contest = Contest { who: Who::Reader, server: replay.address, run: 0, pods, laps, authority };
        let mut arena = Arena { contest, logs: tempfile::tempdir()?, _replay: replay };
        let (kube, one, few, many) = Default::default();
        let reader = vec![arena.turn(Who::Reader).await?];
        let mut rounds = Self { pods, laps, many_clusters: clusters, kube, one, few, many, reader };
        for _ in 0..args.rounds {
            rounds.kube.push(arena.turn(Who::Kube).await?);
            rounds.one.push(arena.turn(Who::Ours(1)).await?);
            rounds.few.push(arena.turn(Who::Ours(FEW)).await?);
            rounds.many.push(arena.turn(Who::Ours(clusters)).await?);
        }
        Ok(rounds)
    }

    /// Number of events in the laps of a round.
    pub fn events(&self) -> f64 {
        f64::from(self.pods) * f64::from(self.laps)
    }

    /// Number of events that arrive one by one.
    pub fn single_events(&self) -> f64 {
        (self.pods as usize).div_ceil(TRICKLE) as f64
    }
}

struct Arena {
    contest: Contest,
    logs: TempDir,
    _replay: Replay,
}

impl Arena {
    async fn turn(&mut self, who: Who) -> anyhow::Result<Figures> {
        self.contest.run += 1;
        self.contest.who = who;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--as-contestant").arg(serde_json::to_string(&self.contest)?);
        let log = self.logs.path().join(format!("{}.log", self.contest.run));
        let process = Process::spawn(format!("{who:?}"), &command, log)?;
        let status = process.wait(LIMIT).await?;
        let log = process.log();
        ensure!(status.success(), "{who:?} ended with {status}:\n{log}");
        let figures = log.lines().last().and_then(|line| serde_json::from_str(line).ok());
        figures.with_context(|| format!("{who:?} printed no figures:\n{log}"))
    }
}
