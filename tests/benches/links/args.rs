//! The bench's command line.

use clap::Parser;

/// Measure the duration of kubemcsa commands, and compare each with a limit or a comparable command in the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "links")]
pub struct Args {
    /// Number of sources, each a real API server
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub sources: u32,

    /// Number of links to list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub links: u32,

    /// Number of runs of each command; the table shows the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,

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
