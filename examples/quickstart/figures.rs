//! What it took: times, sizes, memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mcsa_tests::Daemons;

use crate::narrator::Narrator;

/// The programs that the quickstart runs.
pub struct Programs {
    kubemcsa: PathBuf,
    importer: PathBuf,
    webhook: PathBuf,
    /// The newcomer's own program.
    pub list_remote_pods: PathBuf,
}

/// Builds them.
pub fn programs() -> anyhow::Result<Programs> {
    Ok(Programs {
        kubemcsa: mcsa_tests::program("kubemcsa")?,
        importer: mcsa_tests::program("mcsa-importer")?,
        webhook: mcsa_tests::program("mcsa-webhook")?,
        list_remote_pods: mcsa_tests::example("list_remote_pods")?,
    })
}

/// What is told at the end.
pub struct Figures {
    rows: Vec<(&'static str, String)>,
}

impl Figures {
    /// Measures what there is to measure now.
    pub fn measure(total: Duration, ready_after: Duration, daemons: &Daemons, programs: &Programs) -> Self {
        let kind = if cfg!(debug_assertions) { "debug build" } else { "release build" };
        let memory = |kib: Option<u64>| match kib {
            Some(kib) => format!("{:.1} MiB ({kind})", kib as f64 / 1024.0),
            None => "unknown on this system".into(),
        };
        let mut rows = vec![
            ("from nothing to done", format!("{:.1} s", total.as_secs_f64())),
            ("from declared to Ready", format!("{} ms", ready_after.as_millis())),
            ("importer, memory at rest", memory(daemons.importer.rss_kib())),
            ("webhook, memory at rest", memory(daemons.webhook.rss_kib())),
        ];
        for (name, path) in [
            ("kubemcsa", &programs.kubemcsa),
            ("mcsa-importer", &programs.importer),
            ("mcsa-webhook", &programs.webhook),
        ] {
            rows.push((name, format!("{} ({kind})", size(path))));
        }
        Self { rows }
    }

    /// Prints them.
    pub fn print(&self, narrator: &Narrator) {
        narrator.table("Figures", &self.rows);
    }
}

fn size(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(metadata) => format!("{:.1} MiB", metadata.len() as f64 / 1024.0 / 1024.0),
        Err(error) => format!("unknown: {error}"),
    }
}
