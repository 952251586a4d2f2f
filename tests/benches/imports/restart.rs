//! Restarts the importer when no import is due.

use std::time::Duration;

use crate::calls::{Calls, Counts};
use crate::fixture::{Access, Fixture};
use crate::importer::Importer;

/// How long after it is ready the importer may still call.
const AFTERMATH: Duration = Duration::from_secs(5);

pub struct Restart {
    /// From the start until it is ready.
    pub took: Duration,
    /// Calls in the target.
    pub target: Counts,
    /// Calls in the sources.
    pub sources: Counts,
}

pub async fn run(fixture: &Fixture, access: &Access) -> anyhow::Result<(Importer, Restart)> {
    let (target, sources) = (Calls::of(&fixture.target).await?, Calls::of_all(&fixture.sources).await?);
    let importer = Importer::start(&fixture.target, &access.importer, "again").await?;
    tokio::time::sleep(AFTERMATH).await;
    let restart = Restart {
        took: importer.ready.duration_since(importer.started),
        target: Calls::of(&fixture.target).await?.since(&target),
        sources: Calls::of_all(&fixture.sources).await?.since(&sources),
    };
    let restart = importer.explain(Ok(restart))?;
    Ok((importer, restart))
}
