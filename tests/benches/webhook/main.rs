//! `cargo bench --bench webhook`: the cost of the webhook, over TLS and from a real API server, each figure beside
//! that of a handler that allows every pod, in the same run.
//!
//! `-- --imports 1000 --seconds 2` is quick. The exit code says only whether the figures could be measured, not
//! whether the goals are met. The table is on stdout, progress on stderr.

mod api_server;
mod args;
mod both;
mod climb;
mod connection;
mod figures;
mod fixture;
mod footprint;
mod goals;
mod limit;
mod load;
mod memory;
mod noise;
mod phases;
mod pods;
#[path = "../imports/progress.rs"]
mod progress;
mod restarts;
mod reviews;
mod rounds;
mod sections;
mod server;
mod service;
mod swaps;
#[path = "../imports/table.rs"]
mod table;
mod tally;
mod tls;
mod units;
#[path = "../imports/usage.rs"]
mod usage;

use std::process::ExitCode;

use crate::args::Args;

fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    let ended = match &args.as_limit {
        Some(folder) => limit::serve(args.listen, folder),
        None => measure(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn measure(args: &Args) -> anyhow::Result<()> {
    mcsa_tests::unless_interrupted(phases::run(args)).await
}
