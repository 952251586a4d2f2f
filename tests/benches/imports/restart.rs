//! The importer is started again, with all imports there and none due.

use std::time::Duration;

use crate::calls::{Calls, Counts};
use crate::importer::Importer;
use crate::scene::{Access, Scene};

/// As long as this after it was ready, what it would do is done.
const AFTERMATH: Duration = Duration::from_secs(5);

/// How it went.
pub struct Restart {
    /// From its start to its being ready.
    pub took: Duration,
    /// In the target.
    pub target: Counts,
    /// In the sources.
    pub sources: Counts,
}

/// Measures it.
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
