//! All measured figures.

use crate::api_server::FromApiServer;
use crate::both::Both;
use crate::footprint::Footprint;
use crate::restarts::Restarts;
use crate::rounds::Rounds;
use crate::sections;
use crate::swaps::Swaps;
use crate::table::Section;

pub struct Figures {
    /// The number of processors that were busy with other processes.
    pub noise: f64,
    /// At the fixed rate.
    pub steady: Both<Rounds>,
    /// At the highest throughput.
    pub full: Both<Rounds>,
    /// The highest rate with answers in time.
    pub highest_rate: Both<f64>,
    /// With calls from an API server.
    pub from_api_server: anyhow::Result<FromApiServer>,
    pub footprint: Footprint,
    /// With swaps of the certificate.
    pub swaps: anyhow::Result<Swaps>,
    /// With restarts.
    pub restarts: anyhow::Result<Restarts>,
}

impl Figures {
    pub fn sections(&self) -> Vec<Section> {
        let steady = &self.steady.webhook;
        let mut sections = vec![
            sections::steady(&self.steady, self.noise),
            sections::throughput(&self.full, self.highest_rate),
        ];
        sections.extend(self.swaps.as_ref().ok().map(|swaps| sections::swapped(swaps, steady)));
        sections.extend(self.restarts.as_ref().ok().map(|restarts| sections::restarted(restarts, steady)));
        sections.extend(self.from_api_server.as_ref().ok().map(sections::created));
        sections.push(sections::memory(&self.footprint));
        sections
    }

    /// What could not be measured, with the error.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let failures = [
            ("swaps of the certificate", self.swaps.as_ref().err()),
            ("restarts", self.restarts.as_ref().err()),
            ("calls from an API server", self.from_api_server.as_ref().err()),
        ];
        let failed = |(what, error): (_, Option<&anyhow::Error>)| {
            error.map(|error| format!("{what} could not be measured: {error:#}"))
        };
        failures.into_iter().filter_map(failed)
    }
}
