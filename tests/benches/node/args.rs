//! The bench's command line.

use clap::Parser;

/// Measures the whole path on a real node, each figure beside its limit or peer of the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "node")]
pub struct Args {
    /// How many imports there are in the end
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub imports: u32,

    /// How many pods are started, with and without an import
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// How many tokens are refreshed and waited for; each takes about a minute
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub refreshes: u32,

    /// What cargo bench says to each bench
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Args {
    /// What was asked for; nothing, when it was not cargo bench that asked: `cargo test --all-targets`
    /// runs this program, too, and is not to wait for it.
    pub fn wanted() -> Option<Self> {
        std::env::args().any(|arg| arg == "--bench").then(Self::parse)
    }
}
