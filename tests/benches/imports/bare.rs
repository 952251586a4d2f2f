//! The limit: only the calls that an import needs.
//!
//! A loop without watch, queue or cache over imports that no importer serves, with the importer's concurrency, rights
//! and Secrets. No importer that makes these calls could be faster on these API servers.

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

use crate::fixture::{Access, Fixture};
use crate::one_import::{Loop, Source};
use crate::plan::Group;
use crate::spent::{Spent, settle};

/// Number of imports per lane and turn. At the end of a turn, some lanes are empty before others.
const LANE_LENGTH: usize = 25;

/// Number of imports that are handled one at a time.
const ALONE: usize = 50;

/// The figures of one kind of loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Number of imports.
    pub imports: usize,
    pub took: Duration,
    /// Processor time.
    pub spent: Spent,
}

/// The figures of all loops.
#[derive(Default)]
pub struct Loops {
    done: BTreeMap<Loop, Done>,
    alone: Vec<Duration>,
}

impl Loop {
    const ALL: [Self; 4] = [Self::MergePatch, Self::Put, Self::NoStatus, Self::Lean];
}

impl Done {
    /// Imports per second.
    pub fn rate(&self) -> f64 {
        self.imports as f64 / self.took.as_secs_f64()
    }
}

impl Loops {
    pub fn of(&self, kind: Loop) -> Done {
        self.done.get(&kind).copied().unwrap_or_default()
    }

    /// The median duration of one import at a time.
    pub fn alone(&self) -> Duration {
        self.alone.get(self.alone.len() / 2).copied().unwrap_or_default()
    }

    /// Runs each kind of loop over at least `count` more imports. The loops take turns, so that noise affects all of
    /// them.
    pub async fn run(&mut self, fixture: &Fixture, access: &Access, count: usize) -> anyhow::Result<()> {
        let turn = LANE_LENGTH * LANE_LIMIT * fixture.plan.sources;
        let turns = count.div_ceil(turn) * Loop::ALL.len();
        let imports = fixture.plan.imports(Group::Bare, 0..ALONE + turns * turn);
        let mut imports = fixture.declare(imports).await?;
        // As planned: of each source in turn.
        imports.sort_by_cached_key(ResourceExt::name_any);
        let sources = access.links.iter().map(Source::of).collect::<anyhow::Result<Vec<_>>>()?;
        settle(fixture).await?;

        let lanes = Lanes { sources: &sources, access };
        let (alone, rest) = imports.split_at(ALONE);
        for import in alone {
            let started = Instant::now();
            lanes.work(Loop::MergePatch, std::slice::from_ref(import)).await?;
            self.alone.push(started.elapsed());
        }
        self.alone.sort_unstable();
        for (turn, kind) in rest.chunks(turn).zip(Loop::ALL.into_iter().cycle()) {
            let before = Spent::so_far(fixture, std::process::id())?;
            let started = Instant::now();
            lanes.work(kind, turn).await?;
            let done = self.done.entry(kind).or_default();
            done.imports += turn.len();
            done.took += started.elapsed();
            done.spent += Spent::so_far(fixture, std::process::id())?.since(before);
        }
        fixture.delete(Group::Bare).await?;
        settle(fixture).await
    }
}

/// One lane per source, like the importer's.
struct Lanes<'a> {
    sources: &'a [Source<'a>],
    access: &'a Access,
}

impl Lanes<'_> {
    async fn work(&self, kind: Loop, imports: &[ServiceAccountImport]) -> anyhow::Result<()> {
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
