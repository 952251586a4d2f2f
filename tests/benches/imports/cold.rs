//! From cold: all imports are there, none has a Secret, and the importer starts.

use std::time::Duration;

use crate::calls::{Calls, Counts};
use crate::importer::Importer;
use crate::observer::Observer;
use crate::plan::Group;
use crate::scene::{Access, Scene};
use crate::spent::{Spent, settle};
use crate::usage::Memory;

/// The last import is ready before its event is written.
const AFTERMATH: Duration = Duration::from_secs(1);

/// How it went.
pub struct Cold {
    /// How many imports.
    pub imports: usize,
    /// From the importer's beginning to work to the last import's being ready.
    pub took: Duration,
    /// In the target.
    pub target: Counts,
    /// In the sources.
    pub sources: Counts,
    /// What it cost.
    pub spent: Spent,
    /// The most memory that the importer had.
    pub peak_kib: u64,
}

impl Cold {
    /// Imports a second.
    pub fn rate(&self) -> f64 {
        self.imports as f64 / self.took.as_secs_f64()
    }
}

/// Measures it. All imports are declared, and no importer runs.
pub async fn run(scene: &Scene, access: &Access, observer: &Observer) -> anyhow::Result<(Importer, Cold)> {
    let (target, sources) = (Calls::of(&scene.target).await?, Calls::of_all(&scene.sources).await?);
    let before = Spent::without_worker(scene)?;
    let importer = Importer::start(&scene.target, &access.importer, "cold").await?;
    let imports = scene.plan.imports;
    let ready = observer.all(Group::Served.prefix(), imports, "ready", |seen| seen.ready).await;
    let ready = importer.explain(ready)?;
    let spent = Spent::so_far(scene, importer.id())?.since(before);
    tokio::time::sleep(AFTERMATH).await;
    let cold = Cold {
        imports,
        took: ready.last().map(|last| last.duration_since(importer.leading)).unwrap_or_default(),
        target: Calls::of(&scene.target).await?.since(&target),
        sources: Calls::of_all(&scene.sources).await?.since(&sources),
        spent,
        peak_kib: Memory::of(importer.id())?.peak_kib,
    };
    Ok((importer, cold))
}

/// The importer's memory once there is nothing to do.
pub async fn idle(scene: &Scene, importer: &Importer) -> anyhow::Result<Memory> {
    settle(scene).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    Memory::of(importer.id())
}
