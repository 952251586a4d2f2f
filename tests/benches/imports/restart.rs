//! Measures a restart of the importer while no import is due.

use std::time::Duration;

use crate::calls::{Calls, Counts};
use crate::fixture::{Access, Fixture};
use crate::importer::Importer;

/// How long calls are counted after the importer is ready.
const COUNTED_TIME: Duration = Duration::from_secs(5);

pub struct Restart {
    /// From the start until the importer is ready.
    pub duration: Duration,
    /// Calls in the target.
    pub target: Counts,
    /// Calls in the sources.
    pub sources: Counts,
}

pub async fn run(fixture: &Fixture, access: &Access) -> anyhow::Result<(Importer, Restart)> {
    let (target, sources) = (Calls::of(&fixture.target).await?, Calls::of_all(&fixture.sources).await?);
    let importer = Importer::start(&fixture.target, &access.importer, "restart").await?;
    tokio::time::sleep(COUNTED_TIME).await;
    let restart = Restart {
        duration: importer.ready.duration_since(importer.started),
        target: Calls::of(&fixture.target).await?.since(&target),
        sources: Calls::of_all(&fixture.sources).await?.since(&sources),
    };
    let restart = importer.with_log(Ok(restart))?;
    Ok((importer, restart))
}
