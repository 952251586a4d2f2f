//! Measures the processor time of the importer and the clusters.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use crate::fixture::Fixture;
use crate::usage::{cpu, machine_cpu};

/// Deadline of [`wait_until_idle`].
const TIMEOUT: Duration = Duration::from_secs(20);

/// The processor time during a time span.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// Of the importer, or of the bench while it runs a baseline loop and watches imports.
    pub worker: Duration,
    /// Of the target's API server, etcd and controllers.
    pub target: Duration,
    /// Of the same processes of all sources.
    pub sources: Duration,
    /// Of the whole machine, including other processes.
    pub machine: Duration,
}

impl CpuTime {
    /// The processor time so far.
    pub fn read(fixture: &Fixture, worker: u32) -> anyhow::Result<Self> {
        let sum = |ids: &[u32]| ids.iter().map(|&id| cpu(id)).sum::<anyhow::Result<Duration>>();
        let sources: Vec<_> = fixture.sources.iter().flat_map(|source| source.pids()).collect();
        Ok(Self {
            worker: cpu(worker)?,
            target: sum(&fixture.target.pids())?,
            sources: sum(&sources)?,
            machine: machine_cpu()?,
        })
    }

    /// The processor time so far, with 0 for the worker.
    pub fn read_without_worker(fixture: &Fixture) -> anyhow::Result<Self> {
        Ok(Self { worker: Duration::ZERO, ..Self::read(fixture, std::process::id())? })
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
    pub fn measured(self) -> Duration {
        self.worker + self.target + self.sources
    }

    /// Of all other processes.
    pub fn other_processes(self) -> Duration {
        self.machine.saturating_sub(self.measured())
    }
}

impl AddAssign for CpuTime {
    fn add_assign(&mut self, more: Self) {
        self.worker += more.worker;
        self.target += more.target;
        self.sources += more.sources;
        self.machine += more.machine;
    }
}

/// Waits until the clusters are as idle as they become, or until the deadline.
pub async fn wait_until_idle(fixture: &Fixture) -> anyhow::Result<()> {
    let started = Instant::now();
    // An idle cluster uses a few hundredths of a processor.
    let idle = Duration::from_millis(150 + 50 * fixture.sources.len() as u64);
    while started.elapsed() < TIMEOUT {
        let before = CpuTime::read(fixture, std::process::id())?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if CpuTime::read(fixture, std::process::id())?.since(before).measured() < idle {
            break;
        }
    }
    Ok(())
}
