//! Figures of several rounds, compared.

use crate::contestant::Figures;
use crate::rounds::Rounds;

/// A figure of one round.
pub type Of = fn(&Rounds, &Figures) -> f64;

/// Those of one contestant.
pub type Whose = fn(&Rounds) -> &[Figures];

/// kube's controller.
pub const KUBE: Whose = |rounds| &rounds.kube;

/// Ours, of one cluster.
pub const ONE: Whose = |rounds| &rounds.one;

/// Ours, over a few.
pub const FEW: Whose = |rounds| &rounds.few;

/// Ours, over many.
pub const MANY: Whose = |rounds| &rounds.many;

/// Processor time, in microseconds.
pub fn time_per_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.changing.as_secs_f64() * 1e6 / rounds.events()
}

/// The same, of events that come one by one.
pub fn time_per_single_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.trickling.as_secs_f64() * 1e6 / rounds.single_events()
}

/// Events in a second.
pub fn events_per_second(rounds: &Rounds, figures: &Figures) -> f64 {
    rounds.events() / figures.took.as_secs_f64()
}

/// Reconciliations of an event: those of an object that come fast may be one.
pub fn reconciliations_per_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.reconciliations as f64 / rounds.events()
}

/// Processor time, in microseconds.
pub fn time_per_listed_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.listing.as_secs_f64() * 1e6 / f64::from(rounds.pods)
}

/// Bytes of a pod, of what came with all of them.
pub fn memory_per_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    grown(rounds, figures, figures.listed_kib)
}

/// The same, where it was highest while all were listed.
pub fn peak_per_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    grown(rounds, figures, figures.peak_kib)
}

/// The same, when all of them had changed.
pub fn memory_per_changed_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    grown(rounds, figures, figures.changed_kib)
}

fn grown(rounds: &Rounds, figures: &Figures, kib: u64) -> f64 {
    kib.saturating_sub(figures.bare_kib) as f64 * 1024.0 / f64::from(rounds.pods)
}

/// The middle one of all rounds.
pub fn middle(rounds: &Rounds, whose: Whose, of: Of) -> f64 {
    median(whose(rounds).iter().map(|figures| of(rounds, figures)).collect())
}

/// How many times the one is the other: the middle of what it is in each round.
pub fn times(rounds: &Rounds, (one, other): (Whose, Whose), of: Of) -> f64 {
    let pairs = whose_pairs(rounds, one, other);
    median(pairs.map(|(one, other)| of(rounds, one) / of(rounds, other)).collect())
}

/// The most of all rounds, in terms of the least: how noisy it was.
pub fn spread(rounds: &Rounds, whose: Whose, of: Of) -> f64 {
    let all: Vec<_> = whose(rounds).iter().map(|figures| of(rounds, figures)).collect();
    let (least, most) =
        (all.iter().copied().fold(f64::NAN, f64::min), all.iter().copied().fold(f64::NAN, f64::max));
    most / least
}

fn whose_pairs(rounds: &Rounds, one: Whose, other: Whose) -> impl Iterator<Item = (&Figures, &Figures)> {
    one(rounds).iter().zip(other(rounds))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
