//! The sections of the table.

use crate::compare::{
    FEW, KUBE, MANY, ONE, Of, Whose, events_per_second, median_of, memory_per_changed_pod, memory_per_pod,
    peak_per_pod, reconciliations_per_event, spread, time_per_event, time_per_listed_pod,
    time_per_single_event, times,
};
use crate::noticed::Noticed;
use crate::rounds::Rounds;
use crate::table::{Row, Section};

pub fn of(rounds: &Rounds, noticed: &[Noticed]) -> Vec<Section> {
    vec![
        events(rounds),
        single_events(rounds),
        listing(rounds),
        memory(rounds),
        Section {
            title: "Real clusters: time until a change is noticed",
            rows: noticed.iter().map(Noticed::row).collect(),
        },
    ]
}

fn events(rounds: &Rounds) -> Section {
    let rate = |whose| format!("{:.0}/s", median_of(rounds, whose, events_per_second));
    let reference = |whose| format!("{} kube's", rate(whose));
    let reader = median_of(rounds, |rounds| &rounds.reader, events_per_second);
    let ratio = |whose| format!("{:.2}", median_of(rounds, whose, reconciliations_per_event));
    let mut rows = compared(rounds, time_per_event, |micros| format!("{micros:.1} µs"));
    rows.extend([
        Row::new("noise: kube's slowest round divided by its fastest", noise(rounds, time_per_event), "1.00"),
        Row::new("events per second, one cluster", rate(ONE), reference(KUBE)),
        Row::new("  a few clusters together", rate(FEW), reference(KUBE)),
        Row::new("  many clusters together", rate(MANY), reference(KUBE)),
        Row::new("  a reader that does nothing with them", "", format!("{reader:.0}/s")),
        Row::new("reconciliations per event", ratio(ONE), format!("{} kube's", ratio(KUBE))),
    ]);
    Section { title: "Processor time per event; median of all rounds", rows }
}

fn single_events(rounds: &Rounds) -> Section {
    let rows = compared(rounds, time_per_single_event, |micros| format!("{micros:.1} µs"));
    Section { title: "Processor time per event, at a thousand events per second", rows }
}

fn listing(rounds: &Rounds) -> Section {
    let rows = compared(rounds, time_per_listed_pod, |micros| format!("{micros:.1} µs"));
    Section { title: "Processor time per pod, listed and first reconciled", rows }
}

fn memory(rounds: &Rounds) -> Section {
    let kib = |bytes: f64| format!("{:.2} KiB", bytes / 1024.0);
    let both = |what, of: Of| {
        let reference = format!("{} kube's", kib(median_of(rounds, KUBE, of)));
        Row::new(what, kib(median_of(rounds, ONE, of)), reference)
    };
    let more = median_of(rounds, MANY, memory_per_pod) - median_of(rounds, ONE, memory_per_pod);
    let each = more * f64::from(rounds.pods) / f64::from(rounds.many_clusters - 1) / 1024.0;
    let mut rows = compared(rounds, memory_per_pod, kib);
    rows.extend([
        Row::new("noise: kube's highest divided by its lowest", noise(rounds, memory_per_pod), "1.00"),
        Row::new("per additional cluster", format!("{each:.0} KiB"), ""),
        both("peak while pods are listed", peak_per_pod),
        both("once all pods have changed", memory_per_changed_pod),
    ]);
    Section { title: "Resident memory per pod", rows }
}

fn compared(rounds: &Rounds, of: Of, shown: impl Fn(f64) -> String) -> Vec<Row> {
    let reference = format!("{} kube's", shown(median_of(rounds, KUBE, of)));
    let ratio = |what, one: Whose, other: Whose| {
        Row::new(what, format!("{:.2}", times(rounds, (one, other), of)), "1.00")
    };
    vec![
        Row::new("one cluster", shown(median_of(rounds, ONE, of)), reference),
        ratio("  times kube's", ONE, KUBE),
        ratio("a few clusters, times that of one", FEW, ONE),
        ratio("many clusters, times that of one", MANY, ONE),
    ]
}

fn noise(rounds: &Rounds, of: Of) -> String {
    format!("{:.2}", spread(rounds, KUBE, of))
}
