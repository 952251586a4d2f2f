//! The load of other processes on this machine.

use std::time::{Duration, Instant};

use crate::both::Both;
use crate::fixture::Fixture;
use crate::usage::{cpu, machine_cpu};

/// The start of a time span.
pub struct Noise {
    started: Instant,
    machine: Duration,
    ours: Duration,
}

impl Noise {
    pub fn begin(fixture: &Fixture, servers: Both<u32>) -> anyhow::Result<Self> {
        Ok(Self { started: Instant::now(), machine: machine_cpu()?, ours: ours(fixture, servers)? })
    }

    /// The mean number of processors that were busy with other processes.
    pub fn end(self, fixture: &Fixture, servers: Both<u32>) -> anyhow::Result<f64> {
        let ours = ours(fixture, servers)?.saturating_sub(self.ours);
        let others = machine_cpu()?.saturating_sub(self.machine).saturating_sub(ours);
        Ok(others.as_secs_f64() / self.started.elapsed().as_secs_f64())
    }
}

/// The processor time of all measured processes.
fn ours(fixture: &Fixture, servers: Both<u32>) -> anyhow::Result<Duration> {
    let own = [std::process::id(), servers.webhook, servers.limit];
    own.into_iter().chain(fixture.cluster.pids()).map(cpu).sum()
}
