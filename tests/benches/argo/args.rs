//! The bench's command line.

use clap::Parser;

/// Measure workflows whose steps run in another cluster, and compare each figure with the same steps at home.
#[derive(Clone, Debug, Parser)]
#[command(name = "argo")]
pub struct Args {
    /// Number of runs of the short workflows, on each side; the table shows the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// Duration of a step of the workflow that is too large for one cluster, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub seconds: u32,

    /// Number of steps of the largest workflow
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub steps: u32,

    /// The flag that `cargo bench` passes
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Args {
    /// `None` unless `cargo bench` started this process: `cargo test --all-targets` starts it too, and must not wait
    /// for the bench.
    pub fn parse_if_bench() -> Option<Self> {
        std::env::args().any(|arg| arg == "--bench").then(Self::parse)
    }
}
