//! The bench's command line.

use clap::Parser;

/// Measures controllers over several clusters, each figure beside kube's own controller of one in the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "clusters")]
pub struct Args {
    /// How many clusters there are at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..=200))]
    pub clusters: u32,

    /// How many pods are watched, in all clusters together
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(500..=100_000))]
    pub pods: u32,

    /// How often each of the pods changes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub laps: u32,

    /// How often all of it is measured; the middle one counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,

    /// What cargo bench says to each bench
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Be the controller that is measured, as this says
    #[arg(long, hide = true, value_name = "JSON")]
    pub as_contestant: Option<String>,
}

impl Args {
    /// What was asked for; nothing, when it was neither cargo bench nor the bench itself that asked:
    /// `cargo test --all-targets` runs this program, too, and is not to wait for it.
    pub fn wanted() -> Option<Self> {
        let wanted = |arg: String| arg == "--bench" || arg == "--as-contestant";
        std::env::args().any(wanted).then(Self::parse)
    }
}
