//! The sections of the table. Each compares a figure with the baseline's.

use crate::api_server::ApiServerFigures;
use crate::comparison::Comparison;
use crate::footprint::Footprint;
use crate::restarts::Restarts;
use crate::rotations::Rotations;
use crate::rounds::Rounds;
use crate::strangers::{CreatedPods, PODS, Strangers};
use crate::table::{Row, Section};
use crate::units::{mib, millis, ratio, whole};
use crate::usage::Memory;

/// Number of errors shown.
const REASONS: usize = 4;

pub fn steady(rounds: &Comparison<Rounds>, other_load: f64) -> Section {
    let mut rows = latencies(rounds);
    rows.push(Row::new("processors busy with other processes, mean", format!("{other_load:.2}"), ""));
    Section {
        title: "Reviews at the fixed rate, since the time when each was due; median of the rounds",
        rows,
    }
}

pub fn throughput(full: &Comparison<Rounds>, highest: Comparison<f64>) -> Section {
    let (rates, cpu) = (full.map(Rounds::rate), full.map(Rounds::cpu));
    Section {
        title: "Throughput, on the machine that also runs the load generator",
        rows: vec![
            row(
                "share of the baseline's highest rate, p99 below 10 ms",
                ratio(highest.ratio()),
                "1.00; goal 0.80",
            ),
            row(
                "highest rate of reviews per second, p99 below 10 ms",
                whole(highest.webhook),
                format!("{} baseline", whole(highest.baseline)),
            ),
            row("share of the baseline's rate, 16 concurrent reviews", ratio(rates.ratio()), "1.00"),
            row(
                "reviews per second, 16 concurrent reviews",
                whole(rates.webhook),
                format!("{} baseline", whole(rates.baseline)),
            ),
            row("share of the baseline's rate, by processor time", ratio(cpu.inverse()), "1.00"),
            row(
                "processor time per 1,000 reviews",
                format!("{:.3} s", cpu.webhook),
                format!("{:.3} s baseline", cpu.baseline),
            ),
            row("errors", errors(&full.webhook), format!("{} baseline", errors(&full.baseline))),
        ],
    }
}

pub fn rotated(rotations: &Rotations, steady: &Rounds) -> Section {
    let mut rows = latencies(&rotations.rounds);
    let plain = steady.percentile(99.0);
    rows.push(row(
        "p99, compared with no rotations",
        millis(rotations.rounds.webhook.percentile(99.0)),
        millis(plain),
    ));
    rows.push(row(
        "certificates received by connections",
        format!("{}", rotations.received),
        format!(
            "{} written to the folder, half of them during the baseline's rounds; {} connections",
            rotations.written, rotations.connections
        ),
    ));
    Section {
        title: "The same, with a new certificate and new connections every second; the baseline keeps its certificate",
        rows,
    }
}

pub fn restarted(restarts: &Restarts, steady: &Rounds) -> Section {
    let results = &restarts.results;
    let reference = |percent: f64| format!("{} without restarts", millis(steady.percentile(percent)));
    let mut rows = vec![
        row("restarts", format!("{}", restarts.count), ""),
        row("errors", format!("{} of {}", results.errors(), results.count()), "goal 0"),
        row("p50", millis(results.percentile(50.0)), reference(50.0)),
        row("p99", millis(results.percentile(99.0)), reference(99.0)),
        row("p99.9", millis(results.percentile(99.9)), reference(99.9)),
        row(
            "slowest",
            millis(results.percentile(100.0)),
            format!("{} without restarts", millis(steady.slowest())),
        ),
    ];
    rows.extend(results.reasons().into_iter().take(REASONS).map(|reason| row("", "", reason)));
    Section { title: "The same, while two replicas are restarted in turn", rows }
}

pub fn memory(footprint: &Footprint) -> Section {
    let Footprint { empty, watched, before, during, overloaded, after } = footprint;
    let reference = |kib: u64| format!("{} baseline, without imports", mib(kib));
    let idle = |at: &Comparison<Memory>| at.map(|memory| memory.rss_kib);
    let (first, last) = (idle(before), idle(after));
    Section {
        title: "Memory, in MiB",
        rows: vec![
            row("without imports", mib(empty.rss_kib), ""),
            row("with all imports, before the load", mib(first.webhook), reference(first.baseline)),
            row("peak at the fixed rate", mib(during.webhook), reference(during.baseline)),
            row("peak at any rate", mib(overloaded.webhook), reference(overloaded.baseline)),
            row("after the load", mib(last.webhook), reference(last.baseline)),
            row("peak since the start, with the first list of all imports", mib(after.webhook.peak_kib), ""),
            row("after each import was created and became ready", mib(watched.rss_kib), ""),
        ],
    }
}

pub fn with_strangers(strangers: &Strangers) -> Section {
    let Strangers { initial_kib, silent, unfinished } = strangers;
    let memory = |pods: &CreatedPods| mib(pods.peak_kib);
    let created = |pods: &CreatedPods| format!("{} of {PODS}", pods.created);
    Section {
        title: "Strangers hold connections while an API server creates pods; peak memory in MiB",
        rows: vec![
            row("4,000 silent connections", memory(silent), format!("{} before", mib(*initial_kib))),
            row("  pods created", created(silent), "goal: all"),
            row("500 connections with bodies that don't end", memory(unfinished), "goal 64"),
            row("  pods created", created(unfinished), "goal: all"),
        ],
    }
}

pub fn created(from: &ApiServerFigures) -> Section {
    let bound = |percent: f64| {
        let bound = from.calls.map(|calls| calls.bound(percent));
        let text = |bound: Option<u64>| bound.map_or("more".to_owned(), |bound| format!("{bound} ms"));
        (text(bound.webhook), format!("{} baseline", text(bound.baseline)))
    };
    let creations = |percent: f64| {
        let times = from.creations.map(|results| millis(results.percentile(percent)));
        (
            times.webhook,
            format!(
                "{} baseline, {} without a webhook",
                times.baseline,
                millis(from.plain.percentile(percent))
            ),
        )
    };
    let means = from.calls.map(|calls| calls.mean());
    let counts = from.calls.map(|calls| calls.count);
    let errors = from.creations.map(|results| format!("{} of {}", results.errors(), results.count()));
    let mut rows = vec![
        row("calls", whole(counts.webhook), format!("{} baseline", whole(counts.baseline))),
        row("mean duration of a call", millis(means.webhook), format!("{} baseline", millis(means.baseline))),
    ];
    let pair = |what, (figure, reference): (String, String)| row(what, figure, reference);
    rows.push(pair("p50 of the calls, upper bound of its bucket", bound(50.0)));
    rows.push(pair("p99 of the calls, upper bound of its bucket", bound(99.0)));
    rows.push(pair("p50 of a pod's creation", creations(50.0)));
    rows.push(pair("p99 of a pod's creation", creations(99.0)));
    rows.push(row("errors", errors.webhook, format!("{} baseline", errors.baseline)));
    rows.extend(from.creations.webhook.reasons().into_iter().take(REASONS).map(|reason| row("", "", reason)));
    Section { title: "Pods created in an API server, 20 per second, measured by API server and client", rows }
}

fn latencies(rounds: &Comparison<Rounds>) -> Vec<Row> {
    let at = |what, percent: f64| {
        let times = rounds.map(|rounds| rounds.percentile(percent));
        row(what, millis(times.webhook), format!("{} baseline", millis(times.baseline)))
    };
    let slowest = rounds.map(Rounds::slowest);
    let p99 = rounds.map(|rounds| rounds.percentile(99.0).as_secs_f64());
    let cpu = rounds.map(Rounds::cpu);
    let best = rounds.map(|rounds| millis(rounds.best(99.0)));
    let mut rows = vec![
        at("p50", 50.0),
        at("p99", 99.0),
        row("p99 in the best round", best.webhook, format!("{} baseline; goal 10 ms", best.baseline)),
        at("p99.9", 99.9),
        row(
            "slowest of all rounds",
            millis(slowest.webhook),
            format!("{} baseline", millis(slowest.baseline)),
        ),
        row("p99, divided by the baseline's", ratio(p99.ratio()), "1.00"),
        row(
            "processor time per 1,000 reviews",
            format!("{:.3} s", cpu.webhook),
            format!("{:.3} s baseline", cpu.baseline),
        ),
        row("errors", errors(&rounds.webhook), format!("{} baseline; goal 0", errors(&rounds.baseline))),
    ];
    rows.extend(rounds.webhook.reasons().take(REASONS).map(|reason| row("", "", reason)));
    rows
}

fn row(what: &'static str, figure: impl Into<String>, reference: impl Into<String>) -> Row {
    Row::new(what, figure, reference)
}

fn errors(rounds: &Rounds) -> String {
    format!("{} of {}", rounds.errors(), rounds.count())
}
