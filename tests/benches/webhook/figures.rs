//! All that was measured.

use crate::api_server::FromApiServer;
use crate::both::Both;
use crate::restarts::Restarts;
use crate::rounds::Rounds;
use crate::sections;
use crate::swaps::Swaps;
use crate::table::Section;
use crate::usage::Memory;

/// All that was measured.
pub struct Figures {
    /// How many processors were busy with something else.
    pub noise: f64,
    /// At the fixed rate.
    pub steady: Both<Rounds>,
    /// As many as can be.
    pub full: Both<Rounds>,
    /// The highest rate that is answered in time.
    pub highest_rate: Both<f64>,
    /// Called by an API server.
    pub from_api_server: anyhow::Result<FromApiServer>,
    /// Memory.
    pub footprint: Footprint,
    /// With swaps of the certificate.
    pub swaps: anyhow::Result<Swaps>,
    /// With restarts.
    pub restarts: anyhow::Result<Restarts>,
}

/// Memory, at different times.
pub struct Footprint {
    /// The webhook's, without any import.
    pub empty: Memory,
    /// The webhook's, after each import was seen to come and to become ready.
    pub watched: Memory,
    /// At rest, all imports having been there at the start.
    pub before: Both<Memory>,
    /// The most at the fixed rate, in KiB.
    pub during: Both<u64>,
    /// The most at any rate, also where it was too high.
    pub overloaded: Both<u64>,
    /// At rest again.
    pub after: Both<Memory>,
}

impl Figures {
    /// The table.
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

    /// What could not be measured, and why.
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
