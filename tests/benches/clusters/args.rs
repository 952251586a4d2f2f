//! The bench's command line.

use std::path::PathBuf;

use clap::Parser;

/// Measure controllers of several clusters, and compare them with kube's controller of one, in the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "clusters")]
pub struct Args {
    /// Largest number of clusters
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..=200))]
    pub clusters: u32,

    /// Total number of pods in all clusters
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(500..=100_000))]
    pub pods: u32,

    /// Number of changes to each pod
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub laps: u32,

    /// Number of rounds; the table shows the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// Number of imports of service accounts of these clusters
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub imports: u32,

    /// The flag that `cargo bench` passes
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Run as the measured controller, with these options
    #[arg(long, hide = true, value_name = "JSON")]
    pub as_controller: Option<String>,

    /// Run as the measured reader of imports, with a kubeconfig of the cluster that has them
    #[arg(long, hide = true, value_name = "KUBECONFIG")]
    pub as_reader_of_imports: Option<PathBuf>,

    /// As a reader of imports, use one of kube's clients for each
    #[arg(long, hide = true)]
    pub kube: bool,
}

impl Args {
    /// `None` unless `cargo bench` or the bench itself started this process: `cargo test --all-targets` starts it too,
    /// and must not wait for the bench.
    pub fn parse_if_bench() -> Option<Self> {
        const WANTED: [&str; 3] = ["--bench", "--as-controller", "--as-reader-of-imports"];
        std::env::args().any(|arg| WANTED.contains(&&*arg)).then(Self::parse)
    }
}
