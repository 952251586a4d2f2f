//! The sections of the table.

use crate::compare::{
    FEW, KUBE, MANY, Metric, ONE, Series, events_per_second, median_of, memory_per_changed_pod,
    memory_per_pod, peak_per_pod, ratio_of, reconciliations_per_event, spread, time_per_event,
    time_per_listed_pod, time_per_single_event,
};
use crate::detection::Detection;
use crate::rounds::Rounds;
use crate::table::{Row, Section};

pub fn of(rounds: &Rounds, detections: &[Detection]) -> Vec<Section> {
    vec![
        events(rounds),
        single_events(rounds),
        listing(rounds),
        memory(rounds),
        Section {
            title: "Time until a change of a real cluster is detected",
            rows: detections.iter().map(Detection::row).collect(),
        },
    ]
}

fn events(rounds: &Rounds) -> Section {
    let rate = |series| format!("{:.0}/s", median_of(rounds, series, events_per_second));
    let reference = |series| format!("{} kube's", rate(series));
    let reader = median_of(rounds, |rounds| &rounds.reader, events_per_second);
    let ratio = |series| format!("{:.2}", median_of(rounds, series, reconciliations_per_event));
    let mut rows = compared(rounds, time_per_event, |micros| format!("{micros:.1} µs"));
    rows.extend([
        Row::new("kube's slowest round divided by its fastest", kube_spread(rounds, time_per_event), "1.00"),
        Row::new("events per second, one cluster", rate(ONE), reference(KUBE)),
        Row::new("  a few clusters, in total", rate(FEW), reference(KUBE)),
        Row::new("  many clusters, in total", rate(MANY), reference(KUBE)),
        Row::new("  a reader that ignores the events", "", format!("{reader:.0}/s")),
        Row::new("reconciliations per event", ratio(ONE), format!("{} kube's", ratio(KUBE))),
    ]);
    Section { title: "Processor time per event; median of all rounds", rows }
}

fn single_events(rounds: &Rounds) -> Section {
    let rows = compared(rounds, time_per_single_event, |micros| format!("{micros:.1} µs"));
    Section { title: "Processor time per event, at 1,000 events per second", rows }
}

fn listing(rounds: &Rounds) -> Section {
    let rows = compared(rounds, time_per_listed_pod, |micros| format!("{micros:.1} µs"));
    Section { title: "Processor time to list a pod and reconcile it once", rows }
}

fn memory(rounds: &Rounds) -> Section {
    let kib = |bytes: f64| format!("{:.2} KiB", bytes / 1024.0);
    let compare = |what, metric: Metric| {
        let reference = format!("{} kube's", kib(median_of(rounds, KUBE, metric)));
        Row::new(what, kib(median_of(rounds, ONE, metric)), reference)
    };
    let more = median_of(rounds, MANY, memory_per_pod) - median_of(rounds, ONE, memory_per_pod);
    let each = more * f64::from(rounds.pods) / f64::from(rounds.many_clusters - 1) / 1024.0;
    let mut rows = compared(rounds, memory_per_pod, kib);
    rows.extend([
        Row::new("kube's highest round divided by its lowest", kube_spread(rounds, memory_per_pod), "1.00"),
        Row::new("per additional cluster", format!("{each:.0} KiB"), ""),
        compare("peak while pods are listed", peak_per_pod),
        compare("after all pods have changed", memory_per_changed_pod),
    ]);
    Section { title: "Resident memory per pod", rows }
}

fn compared(rounds: &Rounds, metric: Metric, format: impl Fn(f64) -> String) -> Vec<Row> {
    let reference = format!("{} kube's", format(median_of(rounds, KUBE, metric)));
    let ratio = |what, one: Series, other: Series| {
        Row::new(what, format!("{:.2}", ratio_of(rounds, (one, other), metric)), "1.00")
    };
    vec![
        Row::new("one cluster", format(median_of(rounds, ONE, metric)), reference),
        ratio("  divided by kube's", ONE, KUBE),
        ratio("a few clusters, divided by one cluster's", FEW, ONE),
        ratio("many clusters, divided by one cluster's", MANY, ONE),
    ]
}

fn kube_spread(rounds: &Rounds, metric: Metric) -> String {
    format!("{:.2}", spread(rounds, KUBE, metric))
}
