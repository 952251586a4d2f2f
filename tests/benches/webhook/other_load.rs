//! Measures the load of other processes on this machine.

use std::time::{Duration, Instant};

use crate::comparison::Comparison;
use crate::fixture::Fixture;
use crate::usage::{cpu, machine_cpu};

/// The processor times at the start of a time span.
pub struct OtherLoad {
    started: Instant,
    machine: Duration,
    measured: Duration,
}

impl OtherLoad {
    pub fn start(fixture: &Fixture, servers: Comparison<u32>) -> anyhow::Result<Self> {
        Ok(Self { started: Instant::now(), machine: machine_cpu()?, measured: measured(fixture, servers)? })
    }

    /// The mean number of processors that were busy with other processes.
    pub fn finish(self, fixture: &Fixture, servers: Comparison<u32>) -> anyhow::Result<f64> {
        let measured = measured(fixture, servers)?.saturating_sub(self.measured);
        let others = machine_cpu()?.saturating_sub(self.machine).saturating_sub(measured);
        Ok(others.as_secs_f64() / self.started.elapsed().as_secs_f64())
    }
}

/// The processor time of all measured processes.
fn measured(fixture: &Fixture, servers: Comparison<u32>) -> anyhow::Result<Duration> {
    let own = [std::process::id(), servers.webhook, servers.baseline];
    own.into_iter().chain(fixture.cluster.pids()).map(cpu).sum()
}
