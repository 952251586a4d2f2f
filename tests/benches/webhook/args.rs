//! The bench's command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures the webhook under reviews as an API server sends them, each figure beside that of a handler
/// that answers without looking.
#[derive(Clone, Debug, Parser)]
#[command(name = "webhook")]
pub struct Args {
    /// How many imports the webhook knows
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub imports: u32,

    /// Reviews a second where the rate is fixed
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub rate: u32,

    /// How long each round of a phase takes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,

    /// How many rounds each phase has, in which webhook and limit take turns
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// Connections to the webhook: each API server keeps one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: u32,

    /// What cargo bench says to each bench
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Be the limit, with the certificate in this folder
    #[arg(long, hide = true, value_name = "FOLDER")]
    pub as_limit: Option<PathBuf>,

    /// Where the limit serves
    #[arg(long, hide = true, value_name = "ADDRESS", default_value_t = (Ipv4Addr::LOCALHOST, 0).into())]
    pub listen: SocketAddr,
}

impl Args {
    /// What was asked for; nothing, when it was neither cargo bench nor the bench itself that asked:
    /// `cargo test --all-targets` runs this program, too, and is not to wait for it.
    pub fn wanted() -> Option<Self> {
        let wanted = |arg: String| arg == "--bench" || arg == "--as-limit";
        std::env::args().any(wanted).then(Self::parse)
    }

    /// How long all rounds of one server take.
    pub fn all_rounds(&self) -> Duration {
        self.round() * self.rounds
    }

    /// How long a round takes.
    pub fn round(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
