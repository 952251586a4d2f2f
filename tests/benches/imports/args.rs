//! The bench's command line.

use std::path::PathBuf;

use clap::Parser;

/// Measure the importer on real API servers, and compare each figure with a limit or a comparable figure of the same
/// run.
#[derive(Clone, Debug, Parser)]
#[command(name = "imports")]
pub struct Args {
    /// Number of imports
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub imports: u32,

    /// Number of source clusters
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub sources: u32,

    /// Number of imports to create one by one, first while the importer is idle, and again during a refresh round
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1000))]
    pub trickle: u32,

    /// The flag that `cargo bench` passes
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Run as an importer in the cluster of this kubeconfig; each line on stdin advances the clock by that many seconds
    #[arg(long, hide = true, value_name = "KUBECONFIG")]
    pub as_importer: Option<PathBuf>,
}

impl Args {
    /// `None` unless `cargo bench` or the bench itself started this process: `cargo test --all-targets` starts it too,
    /// and must not wait for the bench.
    pub fn parse_if_bench() -> Option<Self> {
        let wanted = |arg: String| arg == "--bench" || arg == "--as-importer";
        std::env::args().any(wanted).then(Self::parse)
    }
}
