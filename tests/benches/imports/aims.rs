//! What the figures should come to.

use std::time::Duration;

use crate::bare::Loop;
use crate::figures::{Figures, mib, millis};
use crate::table::Aim;

/// What is missing to the whole of the bare loop's rate is watches, queue and cache.
const SHARE_OF_BARE_LOOP: f64 = 0.85;

/// The most memory that the importer should ever have, in MiB.
const PEAK_MIB: f64 = 64.0;

/// The memory that it should have when there is nothing to do, in MiB.
const IDLE_MIB: f64 = 32.0;

/// One TokenRequest, one write of the Secret, one of the status.
const CALLS_PER_REFRESH: f64 = 3.0;

/// From declared to ready, for 99 imports of a hundred, while others are refreshed.
const READY_WITHIN: Duration = Duration::from_millis(300);

/// Which aims are met.
pub fn of(figures: &Figures) -> Vec<Aim> {
    let Figures { cold, idle, restart, round, .. } = figures;
    let share = figures.share(Loop::MergePatch);
    let (peak, idle) = (mib(cold.peak_kib), mib(idle.rss_kib));
    let calls = round.per_refresh().all();
    let p99 = round.trickle.percentile(99);
    let aim = |what: String, seen: String, is_met| Aim { what, seen, is_met };
    vec![
        aim(
            format!("from cold, at least {SHARE_OF_BARE_LOOP} of the bare loop"),
            format!("{share:.2}, and {:.2} by processor time", figures.processor_share(Loop::MergePatch)),
            share >= SHARE_OF_BARE_LOOP,
        ),
        aim(
            "one token per import".into(),
            format!("{} tokens, {} imports", cold.sources.tokens, cold.imports),
            cold.sources.tokens == cold.imports as u64,
        ),
        aim(format!("under {PEAK_MIB} MiB at the peak"), format!("{peak:.1} MiB"), peak < PEAK_MIB),
        aim(format!("under {IDLE_MIB} MiB when idle"), format!("{idle:.1} MiB"), idle < IDLE_MIB),
        aim(
            format!("{CALLS_PER_REFRESH} calls per refresh"),
            format!("{calls:.3}"),
            // A link, or a repetition, may be among ten thousand.
            (calls - CALLS_PER_REFRESH).abs() < 0.01,
        ),
        aim(
            "no token minted by a restart".into(),
            format!("{}", restart.sources.tokens),
            restart.sources.tokens == 0,
        ),
        aim(
            format!("ready within {} during a round (p99)", millis(READY_WITHIN)),
            millis(p99),
            p99 < READY_WITHIN,
        ),
    ]
}
