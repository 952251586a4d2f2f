//! The goals, and whether the figures meet them.

use crate::figures::Figures;
use crate::footprint::Footprint;
use crate::highest_rate::P99;
use crate::restarts::Restarts;
use crate::rotations::Rotations;
use crate::rounds::Rounds;
use crate::table::Goal;
use crate::units::{mib, millis, ratio};

/// Minimum share of the baseline's highest rate.
const SHARE: f64 = 0.8;

/// Limit of the memory with all imports, in KiB.
const MEMORY_KIB: u64 = 20 * 1024;

/// A goal is not met if its figure could not be measured.
pub fn of(figures: &Figures) -> Vec<Goal> {
    let unknown = |_: &_| ("not measured".to_owned(), false);
    let rotated = figures.rotations.as_ref().map_or_else(unknown, rotated);
    let restarted = figures.restarts.as_ref().map_or_else(unknown, restarted);
    let fixed_rate = format!("at the fixed rate: p99 below {} in the best round, and no errors", millis(P99));
    let goal = |what: String, (figure, is_met): (String, bool)| Goal { what, figure, is_met };
    vec![
        goal(fixed_rate, in_time(&figures.steady.webhook)),
        goal("the same, while the certificate is rotated every second".into(), rotated),
        goal("no errors while two replicas are restarted in turn".into(), restarted),
        goal(format!("at least {SHARE} of the baseline's highest rate"), throughput(figures)),
        goal(format!("memory below {} MiB with all imports", mib(MEMORY_KIB)), memory(&figures.footprint)),
    ]
}

fn in_time(rounds: &Rounds) -> (String, bool) {
    let (p99, errors) = (rounds.best(99.0), rounds.errors());
    (format!("{}, {errors} errors", millis(p99)), p99 < P99 && errors == 0)
}

fn rotated(rotations: &Rotations) -> (String, bool) {
    let (figure, is_met) = in_time(&rotations.rounds.webhook);
    (format!("{figure}, {} certificates", rotations.received), is_met && rotations.received > 1)
}

fn restarted(restarts: &Restarts) -> (String, bool) {
    let (errors, count) = (restarts.results.errors(), restarts.count);
    (format!("{errors} errors, {count} restarts"), errors == 0 && count > 0)
}

fn throughput(figures: &Figures) -> (String, bool) {
    let Figures { full, highest_rate, .. } = figures;
    let (highest, all) = (ratio(highest_rate.ratio()), ratio(full.map(Rounds::rate).ratio()));
    let cpu = ratio(full.map(Rounds::cpu).inverse());
    let figure = format!("{highest}; {all} with 16 concurrent reviews; {cpu} by processor time");
    (figure, highest_rate.ratio() >= SHARE)
}

fn memory(footprint: &Footprint) -> (String, bool) {
    let (during, after) = (footprint.during.webhook, footprint.after.webhook.rss_kib);
    let figure = format!("{} at the fixed rate, {} after overload", mib(during), mib(after));
    (figure, during.max(after) < MEMORY_KIB)
}
