//! All measured figures, and the sections of the table.

use crate::api_server::ApiServerFigures;
use crate::comparison::Comparison;
use crate::footprint::Footprint;
use crate::restarts::Restarts;
use crate::rotations::Rotations;
use crate::rounds::Rounds;
use crate::sections;
use crate::strangers::Strangers;
use crate::table::Section;

pub struct Figures {
    /// The mean number of processors that were busy with other processes.
    pub other_load: f64,
    /// At the fixed rate.
    pub steady: Comparison<Rounds>,
    /// With a fixed number of concurrent reviews.
    pub full: Comparison<Rounds>,
    /// The highest rate with responses in time.
    pub highest_rate: Comparison<f64>,
    /// Behind a real API server.
    pub from_api_server: anyhow::Result<ApiServerFigures>,
    pub footprint: Footprint,
    /// While the certificate is rotated.
    pub rotations: anyhow::Result<Rotations>,
    /// While replicas are restarted.
    pub restarts: anyhow::Result<Restarts>,
    /// While strangers hold connections.
    pub strangers: anyhow::Result<Strangers>,
}

impl Figures {
    pub fn sections(&self) -> Vec<Section> {
        let steady = &self.steady.webhook;
        let mut sections = vec![
            sections::steady(&self.steady, self.other_load),
            sections::throughput(&self.full, self.highest_rate),
        ];
        sections.extend(self.rotations.as_ref().ok().map(|rotations| sections::rotated(rotations, steady)));
        sections.extend(self.restarts.as_ref().ok().map(|restarts| sections::restarted(restarts, steady)));
        sections.extend(self.from_api_server.as_ref().ok().map(sections::created));
        sections.push(sections::memory(&self.footprint));
        sections.extend(self.strangers.as_ref().ok().map(sections::with_strangers));
        sections
    }

    /// What could not be measured, with the error.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let failures = [
            ("rotation of the certificate", self.rotations.as_ref().err()),
            ("restarts", self.restarts.as_ref().err()),
            ("calls from an API server", self.from_api_server.as_ref().err()),
            ("connections of strangers", self.strangers.as_ref().err()),
        ];
        let failed = |(what, error): (_, Option<&anyhow::Error>)| {
            error.map(|error| format!("{what} could not be measured: {error:#}"))
        };
        failures.into_iter().filter_map(failed)
    }
}
