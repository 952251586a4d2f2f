//! The goals of the figures.

use std::time::Duration;

use crate::figures::{Figures, mib, millis};
use crate::one_import::Loop;
use crate::table::Goal;

/// The rest of the bare loop's rate is for watches, queue and cache.
const SHARE_OF_BARE_LOOP: f64 = 0.85;

/// Limit of the importer's peak memory, in MiB.
const PEAK_MIB: f64 = 64.0;

/// Limit of the importer's memory while idle, in MiB.
const IDLE_MIB: f64 = 32.0;

/// One TokenRequest, one write of the Secret, and one of the status.
const CALLS_PER_REFRESH: f64 = 3.0;

/// Limit of the p99 from declared to ready, while other imports are refreshed.
const READY_WITHIN: Duration = Duration::from_millis(300);

pub fn of(figures: &Figures) -> Vec<Goal> {
    let Figures { cold, idle, restart, round, .. } = figures;
    let share = figures.share(Loop::MergePatch);
    let (peak, idle) = (mib(cold.peak_kib), mib(idle.rss_kib));
    let calls = round.per_refresh().all();
    let p99 = round.trickle.percentile(99);
    let goal = |what: String, figure: String, is_met| Goal { what, figure, is_met };
    vec![
        goal(
            format!("from cold, at least {SHARE_OF_BARE_LOOP} of the bare loop"),
            format!("{share:.2}, and {:.2} by processor time", figures.processor_share(Loop::MergePatch)),
            share >= SHARE_OF_BARE_LOOP,
        ),
        goal(
            "one token per import".into(),
            format!("{} tokens, {} imports", cold.sources.tokens, cold.imports),
            cold.sources.tokens == cold.imports as u64,
        ),
        goal(format!("under {PEAK_MIB} MiB at the peak"), format!("{peak:.1} MiB"), peak < PEAK_MIB),
        goal(format!("under {IDLE_MIB} MiB when idle"), format!("{idle:.1} MiB"), idle < IDLE_MIB),
        goal(
            format!("{CALLS_PER_REFRESH} calls per refresh"),
            format!("{calls:.3}"),
            // Tolerates a refreshed link or a retry among ten thousand.
            (calls - CALLS_PER_REFRESH).abs() < 0.01,
        ),
        goal(
            "no token minted by a restart".into(),
            format!("{}", restart.sources.tokens),
            restart.sources.tokens == 0,
        ),
        goal(
            format!("ready within {} during a round (p99)", millis(READY_WITHIN)),
            millis(p99),
            p99 < READY_WITHIN,
        ),
    ]
}
