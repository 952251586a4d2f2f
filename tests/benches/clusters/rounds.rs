//! All who are measured, in turns, so that a noisy minute is everyone's.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use mcsa_tests::Process;
use tempfile::TempDir;

use crate::args::Args;
use crate::contestant::{Contest, Figures, Who};
use crate::recording::Recording;
use crate::replay::{Replay, TRICKLE};

/// How long one of them may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How many a few clusters are.
const FEW: u32 = 2;

/// What came of all rounds.
pub struct Rounds {
    /// How many pods were watched.
    pub pods: u32,
    /// How often each of them changed.
    pub laps: u32,
    /// How many clusters many are.
    pub many_clusters: u32,
    /// kube's controller, of one cluster.
    pub kube: Vec<Figures>,
    /// Ours, of one.
    pub one: Vec<Figures>,
    /// Ours, of a few.
    pub few: Vec<Figures>,
    /// Ours, of many.
    pub many: Vec<Figures>,
    /// One who does nothing with what there is to read.
    pub reader: Vec<Figures>,
}

impl Rounds {
    /// Measures all of them, some times.
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

    /// How many events there are in each.
    pub fn events(&self) -> f64 {
        f64::from(self.pods) * f64::from(self.laps)
    }

    /// And how many that come one by one.
    pub fn single_events(&self) -> f64 {
        (self.pods as usize).div_ceil(TRICKLE) as f64
    }
}

/// Where they take turns.
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
        ensure!(status.success(), "{who:?} ended with {status}, and said:\n{log}");
        let figures = log.lines().last().and_then(|line| serde_json::from_str(line).ok());
        figures.with_context(|| format!("{who:?} gave no figures, and said:\n{log}"))
    }
}
