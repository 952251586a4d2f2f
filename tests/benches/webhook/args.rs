//! The bench's command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measure the webhook with reviews like an API server's, and compare it with a handler that allows every pod.
#[derive(Clone, Debug, Parser)]
#[command(name = "webhook")]
pub struct Args {
    /// Number of imports
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub imports: u32,

    /// Reviews per second at the fixed rate
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub rate: u32,

    /// Duration of each round of a phase
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,

    /// Number of rounds per phase, which alternate between webhook and baseline
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// Number of connections to the webhook; each API server keeps one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: u32,

    /// The flag that `cargo bench` passes
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Run as the baseline, with the certificate in this folder
    #[arg(long, hide = true, value_name = "FOLDER")]
    pub as_baseline: Option<PathBuf>,

    /// Address of the baseline
    #[arg(long, hide = true, value_name = "ADDRESS", default_value_t = (Ipv4Addr::LOCALHOST, 0).into())]
    pub listen: SocketAddr,
}

impl Args {
    /// `None` unless `cargo bench` or the bench itself started this process: `cargo test --all-targets` starts it too,
    /// and must not wait for the bench.
    pub fn parse_if_bench() -> Option<Self> {
        let wanted = |arg: String| arg == "--bench" || arg == "--as-baseline";
        std::env::args().any(wanted).then(Self::parse)
    }

    /// The duration of all rounds of one server.
    pub fn all_rounds(&self) -> Duration {
        self.round() * self.rounds
    }

    /// The duration of a round.
    pub fn round(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
