//! The limit: the calls that an import takes, and nothing else.
//!
//! No watch, no queue, no cache: a loop over imports that no importer serves, with as many at a time
//! as the importer has, with its rights, and with Secrets of the same content. No importer that makes
//! these calls could be faster on these API servers.

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

use crate::one_import::Source;
use crate::plan::Group;
use crate::scene::{Access, Scene};
use crate::spent::{Spent, settle};

/// How many imports each lane has in each turn: at its end, some lanes are empty before others.
const LANE_LENGTH: usize = 25;

/// How many imports are worked on one at a time.
const ALONE: usize = 50;

/// What a loop does besides minting a token and creating a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loop {
    /// It writes the status by a merge patch.
    MergePatch,
    /// It writes the status as a whole.
    Put,
    /// It writes no status.
    NoStatus,
    /// As the second, and each write is answered with the metadata alone: as the importer does.
    Lean,
}

/// What came of one kind of loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// How many imports it went over.
    pub imports: usize,
    /// How long that took.
    pub took: Duration,
    /// What it cost.
    pub spent: Spent,
}

/// What came of all loops.
#[derive(Default)]
pub struct Loops {
    done: BTreeMap<Loop, Done>,
    alone: Vec<Duration>,
}

impl Loop {
    const ALL: [Self; 4] = [Self::MergePatch, Self::Put, Self::NoStatus, Self::Lean];
}

impl Done {
    /// Imports a second.
    pub fn rate(&self) -> f64 {
        self.imports as f64 / self.took.as_secs_f64()
    }
}

impl Loops {
    /// What came of one of them.
    pub fn of(&self, kind: Loop) -> Done {
        self.done.get(&kind).copied().unwrap_or_default()
    }

    /// How long one import takes while no other is worked on: half of them took less.
    pub fn alone(&self) -> Duration {
        self.alone.get(self.alone.len() / 2).copied().unwrap_or_default()
    }

    /// Runs each kind of loop over at least `count` imports more. They take turns, so that what else
    /// this machine has to do is spread over all of them.
    pub async fn run(&mut self, scene: &Scene, access: &Access, count: usize) -> anyhow::Result<()> {
        let turn = LANE_LENGTH * LANE_LIMIT * scene.plan.sources;
        let turns = count.div_ceil(turn) * Loop::ALL.len();
        let imports = scene.plan.imports(Group::Bare, 0..ALONE + turns * turn);
        let mut imports = scene.declare(imports).await?;
        // As they were planned: of each source in turn.
        imports.sort_by_cached_key(ResourceExt::name_any);
        let sources = access.links.iter().map(Source::of).collect::<anyhow::Result<Vec<_>>>()?;
        settle(scene).await?;

        let lanes = Lanes { sources: &sources, access };
        let (alone, rest) = imports.split_at(ALONE);
        for import in alone {
            let begun = Instant::now();
            lanes.work(Loop::MergePatch, std::slice::from_ref(import)).await?;
            self.alone.push(begun.elapsed());
        }
        self.alone.sort_unstable();
        for (turn, kind) in rest.chunks(turn).zip(Loop::ALL.into_iter().cycle()) {
            let before = Spent::so_far(scene, std::process::id())?;
            let begun = Instant::now();
            lanes.work(kind, turn).await?;
            let done = self.done.entry(kind).or_default();
            done.imports += turn.len();
            done.took += begun.elapsed();
            done.spent += Spent::so_far(scene, std::process::id())?.since(before);
        }
        scene.delete(Group::Bare).await?;
        settle(scene).await
    }
}

/// A lane for each source, as the importer has.
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
