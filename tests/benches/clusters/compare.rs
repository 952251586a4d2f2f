//! Compares the figures of several rounds.

use crate::contestant::Figures;
use crate::rounds::Rounds;

pub type Of = fn(&Rounds, &Figures) -> f64;

/// The figures of one contestant.
pub type Whose = fn(&Rounds) -> &[Figures];

pub const KUBE: Whose = |rounds| &rounds.kube;

/// Our controller of one cluster.
pub const ONE: Whose = |rounds| &rounds.one;

/// Our controller of a few clusters.
pub const FEW: Whose = |rounds| &rounds.few;

/// Our controller of many clusters.
pub const MANY: Whose = |rounds| &rounds.many;

/// Processor time, in microseconds.
pub fn time_per_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.changing.as_secs_f64() * 1e6 / rounds.events()
}

/// Processor time, in microseconds, for events that arrive one by one.
pub fn time_per_single_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.trickling.as_secs_f64() * 1e6 / rounds.single_events()
}

pub fn events_per_second(rounds: &Rounds, figures: &Figures) -> f64 {
    rounds.events() / figures.took.as_secs_f64()
}

/// Less than 1 if several events of an object lead to one reconciliation.
pub fn reconciliations_per_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.reconciliations as f64 / rounds.events()
}

/// Processor time, in microseconds.
pub fn time_per_listed_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.listing.as_secs_f64() * 1e6 / f64::from(rounds.pods)
}

/// In bytes, once all pods are listed.
pub fn memory_per_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    grown(rounds, figures, figures.listed_kib)
}

/// In bytes, at the peak while pods were listed.
pub fn peak_per_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    grown(rounds, figures, figures.peak_kib)
}

/// In bytes, once all pods have changed.
pub fn memory_per_changed_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    grown(rounds, figures, figures.changed_kib)
}

fn grown(rounds: &Rounds, figures: &Figures, kib: u64) -> f64 {
    kib.saturating_sub(figures.bare_kib) as f64 * 1024.0 / f64::from(rounds.pods)
}

/// The median of all rounds.
pub fn median_of(rounds: &Rounds, whose: Whose, of: Of) -> f64 {
    median(whose(rounds).iter().map(|figures| of(rounds, figures)).collect())
}

/// The median of the ratios of each round.
pub fn times(rounds: &Rounds, (one, other): (Whose, Whose), of: Of) -> f64 {
    let pairs = pairs_of(rounds, one, other);
    median(pairs.map(|(one, other)| of(rounds, one) / of(rounds, other)).collect())
}

/// The highest figure divided by the lowest: a measure of noise.
pub fn spread(rounds: &Rounds, whose: Whose, of: Of) -> f64 {
    let all: Vec<_> = whose(rounds).iter().map(|figures| of(rounds, figures)).collect();
    let (least, most) =
        (all.iter().copied().fold(f64::NAN, f64::min), all.iter().copied().fold(f64::NAN, f64::max));
    most / least
}

fn pairs_of(rounds: &Rounds, one: Whose, other: Whose) -> impl Iterator<Item = (&Figures, &Figures)> {
    one(rounds).iter().zip(other(rounds))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
