//! The bench's command line.

use clap::Parser;

/// Measure the launcher, and compare each figure with a limit or with the same pods created straight in the source.
#[derive(Clone, Debug, Parser)]
#[command(name = "launcher")]
pub struct Args {
    /// Number of pods to start one by one, on each side
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub starts: u32,

    /// Number of pods that are observed at the end
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(200..=10_000))]
    pub pods: u32,

    /// Number of transfers of each kind, on each side; the table shows the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub transfers: u32,

    /// Size of a transfer through exec, in MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub exec_mib: u32,

    /// Size of the log, in MiB
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub log_mib: u32,

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
