//! The sections of the table: each figure beside the limit's.

use crate::api_server::FromApiServer;
use crate::both::Both;
use crate::footprint::Footprint;
use crate::restarts::Restarts;
use crate::rounds::Rounds;
use crate::swaps::Swaps;
use crate::table::{Row, Section};
use crate::units::{mib, millis, ratio, whole};
use crate::usage::Memory;

/// Number of errors shown.
const REASONS: usize = 4;

pub fn steady(rounds: &Both<Rounds>, noise: f64) -> Section {
    let mut rows = latencies(rounds);
    rows.push(Row::new("noise: mean number of processors busy with others", format!("{noise:.2}"), ""));
    Section {
        title: "Reviews at the fixed rate, from the time when each was due; median of the rounds",
        rows,
    }
}

pub fn throughput(full: &Both<Rounds>, highest: Both<f64>) -> Section {
    let (rates, cpu) = (full.map(Rounds::rate), full.map(Rounds::cpu));
    Section {
        title: "Throughput, on a machine that also runs the load generator",
        rows: vec![
            row("share of the limit's, with a p99 under 10 ms", ratio(highest.ratio()), "1.00; goal 0.80"),
            row(
                "reviews per second with that p99",
                whole(highest.webhook),
                format!("{} limit", whole(highest.limit)),
            ),
            row("share of the limit's, with 16 concurrent reviews", ratio(rates.ratio()), "1.00"),
            row(
                "reviews per second, with 16 concurrent reviews",
                whole(rates.webhook),
                format!("{} limit", whole(rates.limit)),
            ),
            row("share of the limit's, by processor time", ratio(cpu.inverse()), "1.00"),
            row(
                "processor time per 1,000 reviews",
                format!("{:.3} s", cpu.webhook),
                format!("{:.3} s limit", cpu.limit),
            ),
            row("errors", errors(&full.webhook), format!("{} limit", errors(&full.limit))),
        ],
    }
}

pub fn swapped(swaps: &Swaps, steady: &Rounds) -> Section {
    let mut rows = latencies(&swaps.rounds);
    let plain = steady.percentile(99.0);
    rows.push(row(
        "p99, beside the one without swaps",
        millis(swaps.rounds.webhook.percentile(99.0)),
        millis(plain),
    ));
    rows.push(row(
        "certificates received by connections",
        format!("{}", swaps.shown),
        format!(
            "{} written to the folder, half of them in the limit's turns; {} connections",
            swaps.swaps, swaps.connections
        ),
    ));
    Section {
        title: "The same with a new certificate and new connections every second; the limit keeps its certificate",
        rows,
    }
}

pub fn restarted(restarts: &Restarts, steady: &Rounds) -> Section {
    let tally = &restarts.tally;
    let reference = |percent: f64| format!("{} without restarts", millis(steady.percentile(percent)));
    let mut rows = vec![
        row("restarts", format!("{}", restarts.count), ""),
        row("errors", format!("{} of {}", tally.errors(), tally.count()), "goal 0"),
        row("p50", millis(tally.percentile(50.0)), reference(50.0)),
        row("p99", millis(tally.percentile(99.0)), reference(99.0)),
        row("p99.9", millis(tally.percentile(99.9)), reference(99.9)),
        row("the slowest", millis(tally.percentile(100.0)), format!("{} without", millis(steady.slowest()))),
    ];
    rows.extend(tally.reasons().into_iter().take(REASONS).map(|reason| row("", "", reason)));
    Section { title: "The same with two replicas that are restarted one after the other", rows }
}

pub fn memory(footprint: &Footprint) -> Section {
    let Footprint { empty, watched, before, during, overloaded, after } = footprint;
    let reference = |kib: u64| format!("{} limit, without imports", mib(kib));
    let at_rest = |at: &Both<Memory>| at.map(|memory| memory.rss_kib);
    let (first, last) = (at_rest(before), at_rest(after));
    Section {
        title: "Memory, in MiB",
        rows: vec![
            row("without imports", mib(empty.rss_kib), ""),
            row("with all imports, before the load", mib(first.webhook), reference(first.limit)),
            row("peak at the fixed rate", mib(during.webhook), reference(during.limit)),
            row("peak at any rate", mib(overloaded.webhook), reference(overloaded.limit)),
            row("after the load", mib(last.webhook), reference(last.limit)),
            row("peak ever, including the list of all imports", mib(after.webhook.peak_kib), ""),
            row("after observing each import become ready", mib(watched.rss_kib), ""),
        ],
    }
}

pub fn created(from: &FromApiServer) -> Section {
    let bound = |percent: f64| {
        let bound = from.calls.map(|calls| calls.bound(percent));
        let text = |bound: Option<u64>| bound.map_or("more".to_owned(), |bound| format!("{bound} ms"));
        (text(bound.webhook), format!("{} limit", text(bound.limit)))
    };
    let creations = |percent: f64| {
        let times = from.creations.map(|tally| millis(tally.percentile(percent)));
        (
            times.webhook,
            format!("{} limit, {} no webhook", times.limit, millis(from.plain.percentile(percent))),
        )
    };
    let means = from.calls.map(|calls| calls.mean());
    let counts = from.calls.map(|calls| calls.count);
    let errors = from.creations.map(|tally| format!("{} of {}", tally.errors(), tally.count()));
    let mut rows = vec![
        row("calls", whole(counts.webhook), format!("{} limit", whole(counts.limit))),
        row("mean duration of a call", millis(means.webhook), format!("{} limit", millis(means.limit))),
    ];
    let pair = |what, (figure, reference): (String, String)| row(what, figure, reference);
    rows.push(pair("p50 of the calls, by the histogram's bounds", bound(50.0)));
    rows.push(pair("99 % of the calls within, by the histogram's bounds", bound(99.0)));
    rows.push(pair("a pod's creation, p50", creations(50.0)));
    rows.push(pair("a pod's creation, p99", creations(99.0)));
    rows.push(row("errors", errors.webhook, format!("{} limit", errors.limit)));
    rows.extend(from.creations.webhook.reasons().into_iter().take(REASONS).map(|reason| row("", "", reason)));
    Section { title: "Pods created in an API server, 20 per second, measured by it and by its client", rows }
}

fn latencies(rounds: &Both<Rounds>) -> Vec<Row> {
    let at = |what, percent: f64| {
        let times = rounds.map(|rounds| rounds.percentile(percent));
        row(what, millis(times.webhook), format!("{} limit", millis(times.limit)))
    };
    let slowest = rounds.map(Rounds::slowest);
    let p99 = rounds.map(|rounds| rounds.percentile(99.0).as_secs_f64());
    let cpu = rounds.map(Rounds::cpu);
    let best = rounds.map(|rounds| millis(rounds.best(99.0)));
    let mut rows = vec![
        at("p50", 50.0),
        at("p99", 99.0),
        row("p99 in the best round", best.webhook, format!("{} limit; goal 10 ms", best.limit)),
        at("p99.9", 99.9),
        row("the slowest of all rounds", millis(slowest.webhook), format!("{} limit", millis(slowest.limit))),
        row("p99, divided by the limit's", ratio(p99.ratio()), "1.00"),
        row(
            "processor time per 1,000 reviews",
            format!("{:.3} s", cpu.webhook),
            format!("{:.3} s limit", cpu.limit),
        ),
        row("errors", errors(&rounds.webhook), format!("{} limit; goal 0", errors(&rounds.limit))),
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
