//! The bench's command line.

use clap::Parser;

/// Measures how long kubemcsa takes, each figure beside its limit or peer of the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "links")]
pub struct Args {
    /// How many sources there are, a real API server each
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub sources: u32,

    /// How many links are listed
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub links: u32,

    /// How often each command is run; the middle one counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,

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
