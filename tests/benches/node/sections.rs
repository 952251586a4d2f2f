//! The sections of the table.

use std::time::Duration;

use mcsa_release::Images;

use crate::memory::Memory;
use crate::setup::Setup;
use crate::starts::Starts;
use crate::table::{Goal, Row, Section};
use crate::units::{median, mib, seconds};

/// The largest allowed image, in bytes.
const LIMIT: u64 = 25 << 20;

pub fn images(images: &Images) -> Section {
    let names = ["importer", "webhook", "list-remote-pods"];
    let rows = names.into_iter().zip(images.all());
    let rows = rows.map(|(name, image)| Row::new(name, mib(image.size), format!("at most {}", mib(LIMIT))));
    Section { title: "Image archives", rows: rows.collect() }
}

pub fn setup(setup: &Setup) -> Section {
    let row = |what, duration| Row::new(what, seconds(duration), "");
    Section {
        title: "Setup, step by step",
        rows: vec![
            row("start two clusters and a node, and load the images", setup.boot),
            row("kubemcsa install, until all four pods are available", setup.install),
            row("kubemcsa bootstrap", setup.bootstrap),
            row("create an import, until it is ready", setup.import),
            row("create a Deployment, until both pods have listed pods", setup.deployment),
        ],
    }
}

pub fn starts(starts: &Starts) -> Section {
    let (imported, plain) = (median(&starts.imported), median(&starts.plain));
    let ratio = imported.as_secs_f64() / plain.as_secs_f64();
    Section {
        title: "Time until a pod's first output, with and without an import; median",
        rows: vec![
            Row::new(
                "create import and pod, until the source has responded",
                seconds(imported),
                format!("{} a pod without an import", seconds(plain)),
            ),
            Row::new("ratio", format!("{ratio:.2}"), "1.00"),
        ],
    }
}

pub fn refreshes(refreshes: &[Duration]) -> Section {
    let longest = refreshes.iter().max().copied().unwrap_or_default();
    let shortest = refreshes.iter().min().copied().unwrap_or_default();
    let reference = "60.0 s syncFrequency; the old token is valid for 300.0 s";
    Section {
        title: "Time from a new token in the Secret until two pods have it mounted",
        rows: vec![
            Row::new("shortest", seconds(shortest), reference),
            Row::new("longest", seconds(longest), reference),
        ],
    }
}

pub fn memory(few_imports: &Memory, all_imports: &Memory) -> Section {
    let row =
        |what, kib: u64, peer: u64| Row::new(what, mib(kib << 10), format!("{} kube-proxy", mib(peer << 10)));
    Section {
        title: "Resident memory of the pod with the most",
        rows: vec![
            row("importer, with few imports", few_imports.importer, few_imports.kube_proxy),
            row("webhook, with few imports", few_imports.webhook, few_imports.kube_proxy),
            row("importer, with all imports", all_imports.importer, all_imports.kube_proxy),
            row("webhook, with all imports", all_imports.webhook, all_imports.kube_proxy),
        ],
    }
}

pub fn goals(images: &Images) -> [Goal; 1] {
    let largest = images.all().into_iter().map(|image| image.size).max().unwrap_or_default();
    [Goal { what: "each image below 25 MiB".to_owned(), figure: mib(largest), is_met: largest < LIMIT }]
}
