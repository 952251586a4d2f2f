//! Measures a refresh round: all imports become due within a tenth of their tokens' lifetime.

use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;

use crate::calls::{Calls, Counts};
use crate::cpu_time::CpuTime;
use crate::fixture::{Access, Fixture};
use crate::importer_with_clock::ImporterWithClock;
use crate::observer::{Observed, Observer};
use crate::plan::Group;
use crate::trickle::{self, Trickle};

pub struct Round {
    /// When each import was refreshed, relative to the first.
    pub refreshes: Vec<Duration>,
    /// Calls in the target, including those for the trickle.
    pub target: Counts,
    /// Calls in the sources, including those for the trickle.
    pub sources: Counts,
    /// Processor time, including that for the trickle.
    pub cpu_time: CpuTime,
    /// Imports that were created during the round.
    pub trickle: Trickle,
}

/// Number of calls for each refresh.
#[derive(Clone, Copy, Debug)]
pub struct PerRefresh {
    /// TokenRequests in the source.
    pub tokens: f64,
    /// Writes of Secrets in the target.
    pub secrets: f64,
    /// Writes of statuses in the target.
    pub statuses: f64,
    /// Writes of events in the target.
    pub events: f64,
}

impl PerRefresh {
    pub fn total(&self) -> f64 {
        self.tokens + self.secrets + self.statuses + self.events
    }
}

impl Round {
    /// The calls for each refresh, without those for the trickle: one of each kind per new import.
    pub fn per_refresh(&self) -> PerRefresh {
        let (refreshes, new) = (self.refreshes.len() as f64, self.trickle.count() as f64);
        PerRefresh {
            tokens: (self.sources.tokens as f64 - new) / refreshes,
            // Secrets of new imports are created, not changed.
            secrets: self.target.secrets_changed as f64 / refreshes,
            statuses: (self.target.statuses as f64 - new) / refreshes,
            events: (self.target.events as f64 - new).max(0.0) / refreshes,
        }
    }

    /// The importer's processor time per refresh or new import.
    pub fn cpu_per_refresh(&self) -> Duration {
        self.cpu_time.worker.div_f64((self.refreshes.len() + self.trickle.count()) as f64)
    }

    /// Refreshes per second.
    pub fn mean(&self) -> f64 {
        let last = self.refreshes.last().copied().unwrap_or_default();
        self.refreshes.len() as f64 / last.as_secs_f64().max(1.0)
    }

    /// Refreshes in the busiest second.
    pub fn peak(&self) -> usize {
        let seconds = self.refreshes.chunk_by(|a, b| a.as_secs() == b.as_secs());
        seconds.map(<[_]>::len).max().unwrap_or_default()
    }
}

/// Measures a round, and a trickle of `count` imports during it. No other importer may run.
pub async fn run(
    fixture: &Fixture,
    access: &Access,
    observer: &Observer,
    count: usize,
) -> anyhow::Result<Round> {
    let mut importer = ImporterWithClock::start(&fixture.target, &access.importer).await?;
    let served = Group::Served.prefix();
    let earliest = observer.find(served, Observed::refresh_time).into_iter().min();
    let earliest = earliest.context("no import has a refresh time")?;
    let (target, sources) = (Calls::of(&fixture.target).await?, Calls::of_all(&fixture.sources).await?);
    let before = CpuTime::read(fixture, importer.id()?)?;
    let started = Instant::now();
    importer.advance(earliest.duration_since(Timestamp::now())).await?;

    let refreshed = |observed: &Observed| observed.refreshed.filter(|time| *time > started);
    let (some, all) = (fixture.plan.imports / 4, fixture.plan.imports);
    importer.with_log(observer.wait_for_all(served, some, "refreshed", refreshed).await)?;
    let trickle = importer.with_log(trickle::run(fixture, observer, count).await)?;
    let refreshes = importer.with_log(observer.wait_for_all(served, all, "refreshed", refreshed).await)?;
    let cpu_time = CpuTime::read(fixture, importer.id()?)?.since(before);
    let first = refreshes.first().copied().unwrap_or(started);
    Ok(Round {
        refreshes: refreshes.iter().map(|time| time.duration_since(first)).collect(),
        target: Calls::of(&fixture.target).await?.since(&target),
        sources: Calls::of_all(&fixture.sources).await?.since(&sources),
        cpu_time,
        trickle,
    })
}
