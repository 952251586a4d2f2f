//! All measured figures, and the sections of the table.

use std::time::Duration;

use crate::baseline::{BaselineLoops, LoopFigures};
use crate::cold::Cold;
use crate::cpu_time::CpuTime;
use crate::one_import::LoopKind;
use crate::restart::Restart;
use crate::round::Round;
use crate::table::{Row, Section};
use crate::trickle::Trickle;
use crate::usage::Memory;

/// All measured figures.
pub struct Figures {
    /// The baseline loops, for comparison.
    pub baseline: BaselineLoops,
    pub cold: Cold,
    /// Memory with all imports, while idle.
    pub idle: Memory,
    pub restart: Restart,
    /// Memory after the restart.
    pub before_large: Memory,
    /// Memory with imports of the largest size.
    pub large: Memory,
    /// Imports created one by one.
    pub trickle: Trickle,
    pub round: Round,
}

impl Figures {
    pub fn sections(&self) -> Vec<Section> {
        vec![
            self.throughput(),
            self.processors(),
            self.calls(),
            self.memory(),
            self.latency(),
            self.restarted(),
            self.rounds(),
        ]
    }

    /// The importer's rate in the cold start, divided by a loop's.
    pub fn share(&self, kind: LoopKind) -> f64 {
        self.cold.rate() / self.baseline.of(kind).rate()
    }

    /// The same ratio by the processor time of all measured processes.
    pub fn processor_share(&self, kind: LoopKind) -> f64 {
        let LoopFigures { cpu_time, imports, .. } = self.baseline.of(kind);
        per_import(cpu_time.measured(), imports)
            / per_import(self.cold.cpu_time.measured(), self.cold.imports)
    }

    fn throughput(&self) -> Section {
        let baseline = |kind| format!("{:.1}", self.baseline.of(kind).rate());
        let merge_patch = LoopKind::MergePatch;
        Section {
            title: "Cold start: all imports exist, none has a Secret, and the importer starts",
            rows: vec![
                Row::new(
                    "share of the baseline loop's rate",
                    ratio(self.share(merge_patch)),
                    "1.00; goal 0.85",
                ),
                Row::new("  by processor time", ratio(self.processor_share(merge_patch)), "1.00"),
                Row::new("share of the lean loop's rate", ratio(self.share(LoopKind::Lean)), "1.00"),
                Row::new("  by processor time", ratio(self.processor_share(LoopKind::Lean)), "1.00"),
                Row::new(
                    "imports per second",
                    format!("{:.1}", self.cold.rate()),
                    format!("{} baseline loop: token, Secret, status by merge patch", baseline(merge_patch)),
                ),
                Row::new(
                    "",
                    "",
                    format!(
                        "{} lean loop: PUT, and responses with only metadata, like the importer",
                        baseline(LoopKind::Lean)
                    ),
                ),
                Row::new("", "", format!("{} baseline loop with the status by PUT", baseline(LoopKind::Put))),
                Row::new("", "", format!("{} baseline loop without a status", baseline(LoopKind::NoStatus))),
                Row::new("duration in seconds", format!("{:.1}", self.cold.duration.as_secs_f64()), ""),
                Row::new(
                    "links that are due, too, refreshed after",
                    millis(self.cold.links),
                    format!("{} until all imports are ready", millis(self.cold.duration)),
                ),
            ],
        }
    }

    /// Processor time is more stable than durations on a shared machine.
    fn processors(&self) -> Section {
        let (cpu_time, imports) = (self.cold.cpu_time, self.cold.imports);
        let row = |what, part: fn(CpuTime) -> Duration| {
            let baseline = |kind| {
                let LoopFigures { cpu_time, imports, .. } = self.baseline.of(kind);
                per_import(part(cpu_time), imports)
            };
            let reference = format!(
                "{:.2} baseline loop, {:.2} lean loop, {:.2} with PUT, {:.2} without status",
                baseline(LoopKind::MergePatch),
                baseline(LoopKind::Lean),
                baseline(LoopKind::Put),
                baseline(LoopKind::NoStatus)
            );
            Row::new(what, format!("{:.2}", per_import(part(cpu_time), imports)), reference)
        };
        Section {
            title: "Processor time of the cold start, in ms per import",
            rows: vec![
                row("all measured processes", CpuTime::measured),
                row("  importer, or the loop in its place", |cpu_time| cpu_time.worker),
                row("  target: API server, etcd and controllers", |cpu_time| cpu_time.target),
                row("  sources: API servers, etcd and controllers", |cpu_time| cpu_time.sources),
                row("other processes on this machine", CpuTime::other_processes),
            ],
        }
    }

    fn calls(&self) -> Section {
        let (target, sources, imports) = (self.cold.target, self.cold.sources, self.cold.imports);
        let per_import = |count: u64| format!("{:.3}", count as f64 / imports as f64);
        Section {
            title: "Calls of the cold start, per import",
            rows: vec![
                Row::new("source: tokens minted", per_import(sources.tokens), "1; goal 1"),
                Row::new("target: Secrets created", per_import(target.secrets_created), "1"),
                Row::new("target: Secrets changed", per_import(target.secrets_changed), "0"),
                Row::new("target: statuses written", per_import(target.statuses), "1"),
                Row::new("target: events written", per_import(target.events), "0 in the baseline loop"),
                Row::new(
                    "other calls except lists and watches, in total",
                    format!("{}", sources.others + target.others),
                    "identity checks, one per connection",
                ),
            ],
        }
    }

    fn memory(&self) -> Section {
        let show = |kib| format!("{:.1}", mib(kib));
        Section {
            title: "The importer's memory, in MiB",
            rows: vec![
                Row::new("peak of the cold start", show(self.cold.peak_kib), "goal 64"),
                Row::new("idle, after the cold start", show(self.idle.rss_kib), "goal 32"),
                Row::new(
                    "with 100 more imports of the largest size",
                    show(self.large.rss_kib),
                    format!("{} before; limit of the Deployment 128", show(self.before_large.rss_kib)),
                ),
                Row::new("peak since the restart", show(self.large.peak_kib), ""),
            ],
        }
    }

    fn latency(&self) -> Section {
        let (idle, busy) = (&self.trickle, &self.round.trickle);
        Section {
            title: "Time from creation to ready, one import every 100 ms",
            rows: vec![
                Row::new(
                    "idle: median",
                    millis(idle.percentile(50)),
                    format!(
                        "{} baseline loop, one import at a time",
                        millis(self.baseline.sequential_median())
                    ),
                ),
                Row::new("idle: p99", millis(idle.percentile(99)), ""),
                Row::new("during a refresh round: median", millis(busy.percentile(50)), ""),
                Row::new("during a refresh round: p99", millis(busy.percentile(99)), "goal 300 ms"),
            ],
        }
    }

    fn restarted(&self) -> Section {
        let Restart { duration, target, sources } = &self.restart;
        Section {
            title: "Killed and restarted, while no import is due",
            rows: vec![
                Row::new("ready after", millis(*duration), ""),
                Row::new("tokens minted", format!("{}", sources.tokens), "goal 0"),
                Row::new(
                    "other writes",
                    format!("{}", target.writes() + sources.writes() - sources.tokens),
                    "0",
                ),
                Row::new(
                    "lists, and watches that ended",
                    format!("{}", target.lists + sources.lists),
                    "3 watches that end, and 3 lists, two of them in pages of 20",
                ),
            ],
        }
    }

    fn rounds(&self) -> Section {
        let each = self.round.per_refresh();
        let (mean, peak) = (self.round.mean(), self.round.peak());
        let baseline = self.baseline.of(LoopKind::MergePatch);
        let baseline = per_import(baseline.cpu_time.worker, baseline.imports);
        Section {
            title: "A refresh round, spread over a tenth of the tokens' lifetime",
            rows: vec![
                Row::new(
                    "refreshes per second, mean",
                    format!("{mean:.1}"),
                    format!(
                        "{:.1} baseline loop, the maximum",
                        self.baseline.of(LoopKind::MergePatch).rate()
                    ),
                ),
                Row::new(
                    "refreshes in the busiest second",
                    format!("{peak}"),
                    format!("{:.1} times the mean", peak as f64 / mean),
                ),
                Row::new("source: tokens per refresh", format!("{:.3}", each.tokens), "1"),
                Row::new("target: Secret writes per refresh", format!("{:.3}", each.secrets), "1"),
                Row::new("target: status writes per refresh", format!("{:.3}", each.statuses), "1"),
                Row::new("target: events per refresh", format!("{:.3}", each.events), "0"),
                Row::new(
                    "importer's CPU seconds per 1,000 refreshes",
                    format!("{:.2}", self.round.cpu_per_refresh().as_secs_f64() * 1000.0),
                    format!("{baseline:.2} baseline loop"),
                ),
            ],
        }
    }
}

fn per_import(time: Duration, imports: usize) -> f64 {
    time.as_secs_f64() * 1000.0 / imports.max(1) as f64
}

pub fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

pub fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}
