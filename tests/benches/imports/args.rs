//! The bench's command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures the importer on real API servers, each figure beside its limit or peer of the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "imports")]
pub struct Args {
    /// How many imports
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub imports: u32,

    /// How many source clusters they are of
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub sources: u32,

    /// How many imports are declared one by one, while idle and again during a refresh round
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1000))]
    pub trickle: u32,

    /// What cargo bench says to each bench
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Be an importer with a clock that is turned by a line on stdin, in the cluster of this kubeconfig
    #[arg(long, hide = true, value_name = "KUBECONFIG")]
    pub as_importer: Option<PathBuf>,
}

impl Args {
    /// What was asked for; nothing, when it was neither cargo bench nor the bench itself that asked:
    /// `cargo test --all-targets` runs this program, too, and is not to wait for it.
    pub fn wanted() -> Option<Self> {
        let wanted = |arg: String| arg == "--bench" || arg == "--as-importer";
        std::env::args().any(wanted).then(Self::parse)
    }
}
