//! Measures a cold start: all imports exist, none has a Secret, and the importer starts.

use std::time::{Duration, Instant};

use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::calls::{Calls, Counts};
use crate::cpu_time::{CpuTime, wait_until_idle};
use crate::fixture::{Access, Fixture};
use crate::importer::Importer;
use crate::observer::{Observed, Observer};
use crate::plan::Group;
use crate::usage::Memory;

/// Pause after the last import is ready, because its event is written after that.
const EVENT_DELAY: Duration = Duration::from_secs(1);

pub struct Cold {
    /// Number of imports.
    pub imports: usize,
    /// From the importer's first work until the last import is ready.
    pub duration: Duration,
    /// From the importer's first work until the last link is refreshed, although all imports wait, too.
    pub links: Duration,
    /// Calls in the target.
    pub target: Counts,
    /// Calls in the sources.
    pub sources: Counts,
    /// Processor time.
    pub cpu_time: CpuTime,
    /// The importer's peak memory.
    pub peak_kib: u64,
}

impl Cold {
    /// Imports per second.
    pub fn rate(&self) -> f64 {
        self.imports as f64 / self.duration.as_secs_f64()
    }
}

/// Measures a cold start. All imports must exist, and no importer may run.
pub async fn run(
    fixture: &Fixture,
    access: &Access,
    observer: &Observer,
) -> anyhow::Result<(Importer, Cold)> {
    let (target, sources) = (Calls::of(&fixture.target).await?, Calls::of_all(&fixture.sources).await?);
    fixture.make_links_due().await?;
    let before = CpuTime::read_without_worker(fixture)?;
    let importer = Importer::start(&fixture.target, &access.importer, "cold").await?;
    let imports = fixture.plan.imports;
    let ready =
        observer.wait_for_all(Group::Served.prefix(), imports, "ready", |observed| observed.ready).await;
    let ready = importer.with_log(ready)?;
    let refreshed =
        |observed: &Observed| observed.refreshed.filter(|refreshed| *refreshed > importer.started);
    let links = observer.wait_for_all(SYSTEM_NAMESPACE, fixture.plan.sources, "refreshed", refreshed).await;
    let links = importer.with_log(links)?;
    let since_start = |times: &[Instant]| times.last().map(|last| last.duration_since(importer.leading));
    let cpu_time = CpuTime::read(fixture, importer.id())?.since(before);
    tokio::time::sleep(EVENT_DELAY).await;
    let cold = Cold {
        imports,
        duration: since_start(&ready).unwrap_or_default(),
        links: since_start(&links).unwrap_or_default(),
        target: Calls::of(&fixture.target).await?.since(&target),
        sources: Calls::of_all(&fixture.sources).await?.since(&sources),
        cpu_time,
        peak_kib: Memory::of(importer.id())?.peak_kib,
    };
    Ok((importer, cold))
}

/// Waits until the importer is idle, and returns its memory.
pub async fn idle(fixture: &Fixture, importer: &Importer) -> anyhow::Result<Memory> {
    wait_until_idle(fixture).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    Memory::of(importer.id())
}
