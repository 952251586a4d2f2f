//! Makes the sections of the table from the measured figures.

use std::time::Duration;

use crate::bare::{Done, Loops};
use crate::cold::Cold;
use crate::one_import::Loop;
use crate::restart::Restart;
use crate::round::Round;
use crate::spent::Spent;
use crate::table::{Row, Section};
use crate::trickle::Trickle;
use crate::usage::Memory;

/// All measured figures.
pub struct Figures {
    /// The bare loops: the limit.
    pub bare: Loops,
    pub cold: Cold,
    /// Memory with all imports, while idle.
    pub idle: Memory,
    pub restart: Restart,
    /// Imports declared one by one.
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
            self.again(),
            self.rounds(),
        ]
    }

    /// The importer's rate from cold divided by a loop's.
    pub fn share(&self, kind: Loop) -> f64 {
        self.cold.rate() / self.bare.of(kind).rate()
    }

    /// The same ratio, computed from the processor time of all measured processes.
    pub fn processor_share(&self, kind: Loop) -> f64 {
        let Done { spent, imports, .. } = self.bare.of(kind);
        per_import(spent.ours(), imports) / per_import(self.cold.spent.ours(), self.cold.imports)
    }

    fn throughput(&self) -> Section {
        let bare = |kind| format!("{:.1}", self.bare.of(kind).rate());
        let limit = Loop::MergePatch;
        Section {
            title: "From cold: all imports exist, none has a Secret, the importer starts",
            rows: vec![
                Row::new("share of the bare loop's rate", ratio(self.share(limit)), "1.00; goal 0.85"),
                Row::new("  by processor time", ratio(self.processor_share(limit)), "1.00"),
                Row::new("share of the lean loop's rate", ratio(self.share(Loop::Lean)), "1.00"),
                Row::new("  by processor time", ratio(self.processor_share(Loop::Lean)), "1.00"),
                Row::new(
                    "imports per second",
                    format!("{:.1}", self.cold.rate()),
                    format!("{} bare loop: token, Secret, status by merge patch", bare(limit)),
                ),
                Row::new(
                    "",
                    "",
                    format!(
                        "{} lean loop: PUT, and answers of metadata alone, as the importer",
                        bare(Loop::Lean)
                    ),
                ),
                Row::new("", "", format!("{} bare loop with the status by PUT", bare(Loop::Put))),
                Row::new("", "", format!("{} bare loop without a status", bare(Loop::NoStatus))),
                Row::new("total seconds", format!("{:.1}", self.cold.took.as_secs_f64()), ""),
            ],
        }
    }

    /// More stable than durations on a shared machine.
    fn processors(&self) -> Section {
        let (ours, imports) = (self.cold.spent, self.cold.imports);
        let row = |what, part: fn(Spent) -> Duration| {
            let bare = |kind| {
                let Done { spent, imports, .. } = self.bare.of(kind);
                per_import(part(spent), imports)
            };
            let reference = format!(
                "{:.2} bare loop, {:.2} lean loop, {:.2} with PUT, {:.2} without status",
                bare(Loop::MergePatch),
                bare(Loop::Lean),
                bare(Loop::Put),
                bare(Loop::NoStatus)
            );
            Row::new(what, format!("{:.2}", per_import(part(ours), imports)), reference)
        };
        Section {
            title: "Processor time of the same, in ms per import",
            rows: vec![
                row("all", Spent::ours),
                row("  of that: importer, or the loop in its place", |spent| spent.worker),
                row("  of that: target's API server, etcd and controllers", |spent| spent.target),
                row("  of that: the same of the sources", |spent| spent.sources),
                row("noise: other processes on this machine", Spent::others),
            ],
        }
    }

    fn calls(&self) -> Section {
        let (target, sources, imports) = (self.cold.target, self.cold.sources, self.cold.imports);
        let each = |count: u64| format!("{:.3}", count as f64 / imports as f64);
        Section {
            title: "Calls of the same, per import",
            rows: vec![
                Row::new("source: tokens minted", each(sources.tokens), "1; goal 1"),
                Row::new("target: Secrets created", each(target.secrets_created), "1"),
                Row::new("target: Secrets changed", each(target.secrets_changed), "0"),
                Row::new("target: statuses written", each(target.statuses), "1"),
                Row::new("target: events written", each(target.events), "0 in the bare loop"),
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
                Row::new("peak, from cold", show(self.cold.peak_kib), "goal 64"),
                Row::new("idle afterwards", show(self.idle.rss_kib), "goal 32"),
            ],
        }
    }

    fn latency(&self) -> Section {
        let (idle, busy) = (&self.trickle, &self.round.trickle);
        Section {
            title: "From declared to ready, one import every 100 ms",
            rows: vec![
                Row::new(
                    "idle: median",
                    millis(idle.percentile(50)),
                    format!("{} bare loop, one import at a time", millis(self.bare.alone())),
                ),
                Row::new("idle: p99", millis(idle.percentile(99)), ""),
                Row::new("during a refresh round: median", millis(busy.percentile(50)), ""),
                Row::new("during a refresh round: p99", millis(busy.percentile(99)), "goal 300 ms"),
            ],
        }
    }

    fn again(&self) -> Section {
        let Restart { took, target, sources } = &self.restart;
        Section {
            title: "Killed and restarted, with all imports and none due",
            rows: vec![
                Row::new("ready after", millis(*took), ""),
                Row::new("tokens minted", format!("{}", sources.tokens), "goal 0"),
                Row::new(
                    "other writes",
                    format!("{}", target.writes() + sources.writes() - sources.tokens),
                    "0",
                ),
                Row::new(
                    "lists, and ended watches",
                    format!("{}", target.lists + sources.lists),
                    "three watches: each ends, and lists again in pages of 500",
                ),
            ],
        }
    }

    fn rounds(&self) -> Section {
        let each = self.round.per_refresh();
        let (mean, peak) = (self.round.mean(), self.round.peak());
        let bare = self.bare.of(Loop::MergePatch);
        let bare = per_import(bare.spent.worker, bare.imports);
        Section {
            title: "A refresh round, spread over a tenth of the lifetime",
            rows: vec![
                Row::new(
                    "refreshes per second, mean",
                    format!("{mean:.1}"),
                    format!("{:.1} bare loop: the maximum", self.bare.of(Loop::MergePatch).rate()),
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
                    format!("{bare:.2} bare loop"),
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
