//! The sections of the table.

use std::time::Duration;

use mcsa_release::Images;

use crate::journey::Journey;
use crate::memory::Memory;
use crate::starts::Starts;
use crate::table::{Goal, Row, Section};
use crate::units::{median, mib, seconds};

/// The largest allowed image, in bytes.
const LIMIT: u64 = 25 << 20;

pub fn images(images: &Images) -> Section {
    let names = ["importer's image", "webhook's image", "list-remote-pods' image"];
    let rows = names.into_iter().zip(images.all());
    let rows = rows.map(|(name, image)| Row::new(name, mib(image.size), format!("{} at most", mib(LIMIT))));
    Section { title: "Images, as archives", rows: rows.collect() }
}

pub fn journey(journey: &Journey) -> Section {
    let row = |what, duration| Row::new(what, seconds(duration), "");
    Section {
        title: "From nothing",
        rows: vec![
            row("two clusters, a node, images loaded", journey.boot),
            row("kubemcsa install, until all four pods are available", journey.install),
            row("kubemcsa bootstrap", journey.bootstrap),
            row("an import, until it is ready", journey.import),
            row("a Deployment, until both pods have listed source pods", journey.deployment),
        ],
    }
}

pub fn starts(starts: &Starts) -> Section {
    let (imported, plain) = (median(&starts.imported), median(&starts.plain));
    let ratio = imported.as_secs_f64() / plain.as_secs_f64();
    Section {
        title: "From creating import and pod to its first call, beside a pod without import; median",
        rows: vec![
            Row::new("until the source has answered", seconds(imported), format!("{} limit", seconds(plain))),
            Row::new("ratio", format!("{ratio:.2}"), "1.00"),
        ],
    }
}

pub fn refreshes(refreshes: &[Duration]) -> Section {
    let longest = refreshes.iter().max().copied().unwrap_or_default();
    let shortest = refreshes.iter().min().copied().unwrap_or_default();
    let reference = "60.0 s syncFrequency, 300.0 s left of the old token";
    Section {
        title: "From a new token in the Secret to the same token in two pods",
        rows: vec![
            Row::new("shortest", seconds(shortest), reference),
            Row::new("longest", seconds(longest), reference),
        ],
    }
}

pub fn memory(rest: &Memory, full: &Memory) -> Section {
    let row =
        |what, kib: u64, peer: u64| Row::new(what, mib(kib << 10), format!("{} kube-proxy", mib(peer << 10)));
    Section {
        title: "Resident memory, of the pod that has the most",
        rows: vec![
            row("importer, with a handful of imports", rest.importer, rest.kube_proxy),
            row("webhook, with a handful of imports", rest.webhook, rest.kube_proxy),
            row("importer, with all imports", full.importer, full.kube_proxy),
            row("webhook, with all imports", full.webhook, full.kube_proxy),
        ],
    }
}

pub fn goals(images: &Images) -> [Goal; 1] {
    let largest = images.all().into_iter().map(|image| image.size).max().unwrap_or_default();
    [Goal { what: "each image below 25 MiB".to_owned(), figure: mib(largest), is_met: largest < LIMIT }]
}
