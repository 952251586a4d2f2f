//! Compares the figures of several rounds.

use crate::controller_process::Figures;
use crate::rounds::Rounds;

/// Computes one number from the figures of a round.
pub type Metric = fn(&Rounds, &Figures) -> f64;

/// The figures of one implementation in all rounds.
pub type Series = fn(&Rounds) -> &[Figures];

pub const KUBE: Series = |rounds| &rounds.kube;

/// Our controller of one cluster.
pub const ONE: Series = |rounds| &rounds.one;

/// Our controller of a few clusters.
pub const FEW: Series = |rounds| &rounds.few;

/// Our controller of many clusters.
pub const MANY: Series = |rounds| &rounds.many;

/// Processor time, in microseconds.
pub fn time_per_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.changing.as_secs_f64() * 1e6 / rounds.events()
}

/// Processor time, in microseconds, for events that arrive one by one.
pub fn time_per_single_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.single_changes.as_secs_f64() * 1e6 / rounds.single_events()
}

pub fn events_per_second(rounds: &Rounds, figures: &Figures) -> f64 {
    rounds.events() / figures.duration.as_secs_f64()
}

/// Less than 1 if the controller reconciles an object once for several events.
pub fn reconciliations_per_event(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.reconciliations as f64 / rounds.events()
}

/// Processor time, in microseconds.
pub fn time_per_listed_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    figures.listing.as_secs_f64() * 1e6 / f64::from(rounds.pods)
}

/// In bytes, after all pods are listed.
pub fn memory_per_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    growth_per_pod(rounds, figures, figures.listed_kib)
}

/// In bytes, at the peak while pods were listed.
pub fn peak_per_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    growth_per_pod(rounds, figures, figures.peak_kib)
}

/// In bytes, after all pods have changed.
pub fn memory_per_changed_pod(rounds: &Rounds, figures: &Figures) -> f64 {
    growth_per_pod(rounds, figures, figures.changed_kib)
}

fn growth_per_pod(rounds: &Rounds, figures: &Figures, kib: u64) -> f64 {
    kib.saturating_sub(figures.initial_kib) as f64 * 1024.0 / f64::from(rounds.pods)
}

/// The median of all rounds.
pub fn median_of(rounds: &Rounds, series: Series, metric: Metric) -> f64 {
    median(series(rounds).iter().map(|figures| metric(rounds, figures)).collect())
}

/// The median of the rounds' ratios.
pub fn ratio_of(rounds: &Rounds, (one, other): (Series, Series), metric: Metric) -> f64 {
    let pairs = pairs_of(rounds, one, other);
    median(pairs.map(|(one, other)| metric(rounds, one) / metric(rounds, other)).collect())
}

/// The highest value divided by the lowest, which shows how much other load on the machine affects the figures.
pub fn spread(rounds: &Rounds, series: Series, metric: Metric) -> f64 {
    let all: Vec<_> = series(rounds).iter().map(|figures| metric(rounds, figures)).collect();
    let (lowest, highest) =
        (all.iter().copied().fold(f64::NAN, f64::min), all.iter().copied().fold(f64::NAN, f64::max));
    highest / lowest
}

fn pairs_of(rounds: &Rounds, one: Series, other: Series) -> impl Iterator<Item = (&Figures, &Figures)> {
    one(rounds).iter().zip(other(rounds))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
