//! The goals, and whether the figures meet them.

use std::time::Duration;

use crate::figures::{Figures, mib, millis};
use crate::one_import::LoopKind;
use crate::table::Goal;

/// The rest is allowed for watches, queue and cache, which the baseline loop does not have.
const SHARE_OF_BASELINE: f64 = 0.85;

/// Limit of the importer's peak memory, in MiB.
const PEAK_MIB: f64 = 64.0;

/// Limit of the importer's memory while idle, in MiB.
const IDLE_MIB: f64 = 32.0;

/// One TokenRequest, one write of the Secret, and one of the status.
const CALLS_PER_REFRESH: f64 = 3.0;

/// Limit of the p99 from creation to ready, while other imports are refreshed.
const READY_WITHIN: Duration = Duration::from_millis(300);

pub fn of(figures: &Figures) -> Vec<Goal> {
    let Figures { cold, idle, restart, round, .. } = figures;
    let share = figures.share(LoopKind::MergePatch);
    let (peak, idle) = (mib(cold.peak_kib), mib(idle.rss_kib));
    let calls = round.per_refresh().total();
    let p99 = round.trickle.percentile(99);
    let goal = |what: String, figure: String, is_met| Goal { what, figure, is_met };
    vec![
        goal(
            format!("cold start: at least {SHARE_OF_BASELINE} of the baseline loop's rate"),
            format!("{share:.2}; {:.2} by processor time", figures.processor_share(LoopKind::MergePatch)),
            share >= SHARE_OF_BASELINE,
        ),
        goal(
            "one token per import".into(),
            format!("{} tokens, {} imports", cold.sources.tokens, cold.imports),
            cold.sources.tokens == cold.imports as u64,
        ),
        goal(format!("peak memory below {PEAK_MIB} MiB"), format!("{peak:.1} MiB"), peak < PEAK_MIB),
        goal(format!("idle memory below {IDLE_MIB} MiB"), format!("{idle:.1} MiB"), idle < IDLE_MIB),
        goal(
            format!("{CALLS_PER_REFRESH} calls per refresh"),
            format!("{calls:.3}"),
            // Tolerates a few other calls: a link may be refreshed, and a call may be retried.
            (calls - CALLS_PER_REFRESH).abs() < 0.01,
        ),
        goal(
            "no tokens minted after a restart".into(),
            format!("{}", restart.sources.tokens),
            restart.sources.tokens == 0,
        ),
        goal(
            format!("p99 from creation to ready below {} during a refresh round", millis(READY_WITHIN)),
            millis(p99),
            p99 < READY_WITHIN,
        ),
    ]
}
