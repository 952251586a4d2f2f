//! The bench's command line.

use clap::Parser;

/// Measure the whole path on a real node, and compare each figure with a limit or a comparable figure of the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "node")]
pub struct Args {
    /// Number of imports at the end
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub imports: u32,

    /// Number of pods to start, with and without an import
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// Number of token refreshes to wait for; each takes about a minute
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub refreshes: u32,

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
