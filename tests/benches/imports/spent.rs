//! The processor time of the processes.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use crate::fixture::Fixture;
use crate::usage::{cpu, machine_cpu};

/// Deadline of [`settle`].
const TIMEOUT: Duration = Duration::from_secs(20);

/// The processor time during a time span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Of the importer, or of the bench in its place, which has a watch as well.
    pub worker: Duration,
    /// Of the target's API server, etcd and controllers.
    pub target: Duration,
    /// Of the same processes of all sources.
    pub sources: Duration,
    /// Of the whole machine, including noise.
    pub machine: Duration,
}

impl Spent {
    /// The processor time so far.
    pub fn so_far(fixture: &Fixture, worker: u32) -> anyhow::Result<Self> {
        let sum = |ids: &[u32]| ids.iter().map(|&id| cpu(id)).sum::<anyhow::Result<Duration>>();
        let sources: Vec<_> = fixture.sources.iter().flat_map(|source| source.pids()).collect();
        Ok(Self {
            worker: cpu(worker)?,
            target: sum(&fixture.target.pids())?,
            sources: sum(&sources)?,
            machine: machine_cpu()?,
        })
    }

    /// The processor time so far, without a worker.
    pub fn without_worker(fixture: &Fixture) -> anyhow::Result<Self> {
        Ok(Self { worker: Duration::ZERO, ..Self::so_far(fixture, std::process::id())? })
    }

    /// The processor time since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            worker: self.worker.saturating_sub(before.worker),
            target: self.target.saturating_sub(before.target),
            sources: self.sources.saturating_sub(before.sources),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// Of all processes that are measured.
    pub fn ours(self) -> Duration {
        self.worker + self.target + self.sources
    }

    /// Of all other processes.
    pub fn others(self) -> Duration {
        self.machine.saturating_sub(self.ours())
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, more: Self) {
        self.worker += more.worker;
        self.target += more.target;
        self.sources += more.sources;
        self.machine += more.machine;
    }
}

/// Waits until the clusters are as idle as they become, or the deadline passes.
pub async fn settle(fixture: &Fixture) -> anyhow::Result<()> {
    let started = Instant::now();
    // An idle cluster uses a few hundredths of a processor.
    let idle = Duration::from_millis(150 + 50 * fixture.sources.len() as u64);
    while started.elapsed() < TIMEOUT {
        let before = Spent::so_far(fixture, std::process::id())?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if Spent::so_far(fixture, std::process::id())?.since(before).ours() < idle {
            break;
        }
    }
    Ok(())
}
