//! From cold: all imports exist, none has a Secret, and the importer starts.

use std::time::Duration;

use crate::calls::{Calls, Counts};
use crate::fixture::{Access, Fixture};
use crate::importer::Importer;
use crate::observer::Observer;
use crate::plan::Group;
use crate::spent::{Spent, settle};
use crate::usage::Memory;

/// Pause for the event of the last import, which is written after the import is ready.
const AFTERMATH: Duration = Duration::from_secs(1);

pub struct Cold {
    /// Number of imports.
    pub imports: usize,
    /// From the importer's start of work until the last import is ready.
    pub took: Duration,
    /// Calls in the target.
    pub target: Counts,
    /// Calls in the sources.
    pub sources: Counts,
    /// Processor time.
    pub spent: Spent,
    /// The importer's peak memory.
    pub peak_kib: u64,
}

impl Cold {
    /// Imports per second.
    pub fn rate(&self) -> f64 {
        self.imports as f64 / self.took.as_secs_f64()
    }
}

/// Measures it. All imports must be declared, and no importer may run.
pub async fn run(
    fixture: &Fixture,
    access: &Access,
    observer: &Observer,
) -> anyhow::Result<(Importer, Cold)> {
    let (target, sources) = (Calls::of(&fixture.target).await?, Calls::of_all(&fixture.sources).await?);
    let before = Spent::without_worker(fixture)?;
    let importer = Importer::start(&fixture.target, &access.importer, "cold").await?;
    let imports = fixture.plan.imports;
    let ready = observer.all(Group::Served.prefix(), imports, "ready", |seen| seen.ready).await;
    let ready = importer.explain(ready)?;
    let spent = Spent::so_far(fixture, importer.id())?.since(before);
    tokio::time::sleep(AFTERMATH).await;
    let cold = Cold {
        imports,
        took: ready.last().map(|last| last.duration_since(importer.leading)).unwrap_or_default(),
        target: Calls::of(&fixture.target).await?.since(&target),
        sources: Calls::of_all(&fixture.sources).await?.since(&sources),
        spent,
        peak_kib: Memory::of(importer.id())?.peak_kib,
    };
    Ok((importer, cold))
}

/// The importer's memory once it is idle.
pub async fn idle(fixture: &Fixture, importer: &Importer) -> anyhow::Result<Memory> {
    settle(fixture).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    Memory::of(importer.id())
}
