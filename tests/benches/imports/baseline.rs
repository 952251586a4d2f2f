//! The baseline: a loop that only makes the calls that an import needs.
//!
//! It has no watch, queue or cache, and serves imports that no importer serves. Its concurrency, rights and Secrets are
//! the importer's. No importer that makes these calls could be faster on these API servers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_importer::LANE_LIMIT;
use mcsa_importer::Metrics;
use mcsa_importer::Target;
use prometheus_client::registry::Registry;

use crate::cpu_time::{CpuTime, wait_until_idle};
use crate::fixture::{Access, Fixture};
use crate::one_import::{LoopKind, Source};
use crate::plan::Group;

/// Number of imports per lane and batch. A batch is long, because some lanes are empty before others at its end.
const LANE_LENGTH: usize = 25;

/// Number of imports that are served one at a time.
const SEQUENTIAL: usize = 50;

/// The figures of one kind of loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopFigures {
    /// Number of imports.
    pub imports: usize,
    pub duration: Duration,
    /// Processor time.
    pub cpu_time: CpuTime,
}

/// The figures of all loops.
#[derive(Default)]
pub struct BaselineLoops {
    figures: BTreeMap<LoopKind, LoopFigures>,
    sequential: Vec<Duration>,
}

impl LoopKind {
    const ALL: [Self; 4] = [Self::MergePatch, Self::Put, Self::NoStatus, Self::Lean];
}

impl LoopFigures {
    /// Imports per second.
    pub fn rate(&self) -> f64 {
        self.imports as f64 / self.duration.as_secs_f64()
    }
}

impl BaselineLoops {
    pub fn of(&self, kind: LoopKind) -> LoopFigures {
        self.figures.get(&kind).copied().unwrap_or_default()
    }

    /// The median duration of an import, when served one at a time.
    pub fn sequential_median(&self) -> Duration {
        self.sequential.get(self.sequential.len() / 2).copied().unwrap_or_default()
    }

    /// Runs each kind of loop over at least `count` more imports. The loops alternate in batches, so that
    /// other load on the machine affects all of them.
    pub async fn run(&mut self, fixture: &Fixture, access: &Access, count: usize) -> anyhow::Result<()> {
        let batch = LANE_LENGTH * LANE_LIMIT * fixture.plan.sources;
        let batches = count.div_ceil(batch) * LoopKind::ALL.len();
        let imports = fixture.plan.imports(Group::Baseline, 0..SEQUENTIAL + batches * batch);
        let mut imports = fixture.create_imports(imports).await?;
        // Restores the order of the plan, in which successive imports have different sources.
        imports.sort_by_cached_key(ResourceExt::name_any);
        let sources = access.links.iter().map(Source::of).collect::<anyhow::Result<Vec<_>>>()?;
        wait_until_idle(fixture).await?;

        let lanes = Lanes { sources: &sources, access };
        let (sequential, rest) = imports.split_at(SEQUENTIAL);
        for import in sequential {
            let started = Instant::now();
            lanes.serve(LoopKind::MergePatch, std::slice::from_ref(import)).await?;
            self.sequential.push(started.elapsed());
        }
        self.sequential.sort_unstable();
        for (imports, kind) in rest.chunks(batch).zip(LoopKind::ALL.into_iter().cycle()) {
            let before = CpuTime::read(fixture, std::process::id())?;
            let started = Instant::now();
            lanes.serve(kind, imports).await?;
            let figures = self.figures.entry(kind).or_default();
            figures.imports += imports.len();
            figures.duration += started.elapsed();
            figures.cpu_time += CpuTime::read(fixture, std::process::id())?.since(before);
        }
        fixture.delete(Group::Baseline).await?;
        wait_until_idle(fixture).await
    }
}

/// A lane for each source, like the importer's.
struct Lanes<'a> {
    sources: &'a [Source<'a>],
    access: &'a Access,
}

impl Lanes<'_> {
    async fn serve(&self, kind: LoopKind, imports: &[ServiceAccountImport]) -> anyhow::Result<()> {
        let target = &Target::new(self.access.target.clone(), Metrics::new(&mut Registry::default()));
        let lanes = self.sources.iter().map(|source| {
            let own = imports.iter().filter(|import| import.spec.cluster_name == source.name());
            stream::iter(own)
                .map(move |import| source.serve(target, kind, import))
                .buffer_unordered(LANE_LIMIT)
                .try_collect::<()>()
        });
        try_join_all(lanes).await.map(drop)
    }
}
