//! Restarts the importer when no import is due.

use std::time::Duration;

use crate::calls::{Calls, Counts};
use crate::importer::Importer;
use crate::scene::{Access, Scene};

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

pub async fn run(scene: &Scene, access: &Access) -> anyhow::Result<(Importer, Restart)> {
    let (target, sources) = (Calls::of(&scene.target).await?, Calls::of_all(&scene.sources).await?);
    let importer = Importer::start(&scene.target, &access.importer, "again").await?;
    tokio::time::sleep(AFTERMATH).await;
    let restart = Restart {
        took: importer.ready.duration_since(importer.started),
        target: Calls::of(&scene.target).await?.since(&target),
        sources: Calls::of_all(&scene.sources).await?.since(&sources),
    };
    let restart = importer.explain(Ok(restart))?;
    Ok((importer, restart))
}
