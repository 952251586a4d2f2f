//! The goals of the figures.

use crate::climb::P99;
use crate::figures::Figures;
use crate::footprint::Footprint;
use crate::restarts::Restarts;
use crate::rounds::Rounds;
use crate::swaps::Swaps;
use crate::table::Goal;
use crate::units::{mib, millis, ratio};

/// Least share of the limit's throughput.
const SHARE: f64 = 0.8;

/// Limit of the memory with all imports, in KiB.
const MEMORY_KIB: u64 = 20 * 1024;

/// Goals whose figures could not be measured are not met.
pub fn of(figures: &Figures) -> Vec<Goal> {
    let unknown = |_: &_| ("not measured".to_owned(), false);
    let swapped = figures.swaps.as_ref().map_or_else(unknown, swapped);
    let restarted = figures.restarts.as_ref().map_or_else(unknown, restarted);
    let fast = format!("p99 under {} at the fixed rate in the best round, and no errors", millis(P99));
    let goal = |what: String, (figure, is_met): (String, bool)| Goal { what, figure, is_met };
    vec![
        goal(fast, in_time(&figures.steady.webhook)),
        goal("the same while the certificate is swapped every second".into(), swapped),
        goal("no errors while one of two replicas is restarted".into(), restarted),
        goal(format!("at least {SHARE} of the limit's throughput"), throughput(figures)),
        goal(format!("under {} MiB with all imports", mib(MEMORY_KIB)), memory(&figures.footprint)),
    ]
}

fn in_time(rounds: &Rounds) -> (String, bool) {
    let (p99, errors) = (rounds.best(99.0), rounds.errors());
    (format!("{}, {errors} errors", millis(p99)), p99 < P99 && errors == 0)
}

fn swapped(swaps: &Swaps) -> (String, bool) {
    let (figure, is_met) = in_time(&swaps.rounds.webhook);
    (format!("{figure}, {} certificates", swaps.shown), is_met && swaps.shown > 1)
}

fn restarted(restarts: &Restarts) -> (String, bool) {
    let (errors, count) = (restarts.tally.errors(), restarts.count);
    (format!("{errors} errors, {count} restarts"), errors == 0 && count > 0)
}

fn throughput(figures: &Figures) -> (String, bool) {
    let Figures { full, highest_rate, .. } = figures;
    let (highest, all) = (ratio(highest_rate.ratio()), ratio(full.map(Rounds::rate).ratio()));
    let cpu = ratio(full.map(Rounds::cpu).inverse());
    let figure = format!("{highest}, with 16 at a time {all}, and by processor time {cpu}");
    (figure, highest_rate.ratio() >= SHARE)
}

fn memory(footprint: &Footprint) -> (String, bool) {
    let (during, after) = (footprint.during.webhook, footprint.after.webhook.rss_kib);
    let figure = format!("{} at the fixed rate, {} after an overload", mib(during), mib(after));
    (figure, during.max(after) < MEMORY_KIB)
}
