//! `cargo bench --bench webhook`: measures the cost of the webhook, over TLS and behind a real API server, and compares
//! it with a handler that allows every pod, in the same run.
//!
//! `-- --imports 1000 --seconds 2 --rounds 3` is a quick run. The exit code says only whether the figures could be
//! measured, not whether the goals are met. The table is on stdout, progress on stderr.

mod api_server;
mod args;
mod baseline;
mod comparison;
mod connection;
mod figures;
mod fixture;
mod footprint;
mod goals;
mod highest_rate;
mod load;
mod other_load;
mod peak_memory;
mod phases;
mod pods;
#[path = "../imports/progress.rs"]
mod progress;
mod restarts;
mod results;
mod reviews;
mod rotations;
mod rounds;
mod sections;
mod server;
mod service;
mod strangers;
#[path = "../imports/table.rs"]
mod table;
mod tls;
mod units;
#[path = "../imports/usage.rs"]
mod usage;

use std::process::ExitCode;

use crate::args::Args;

fn main() -> ExitCode {
    mcsa_tests::init();
    let Some(args) = Args::parse_if_bench() else { return ExitCode::SUCCESS };
    let ended = match &args.as_baseline {
        Some(folder) => baseline::serve(args.listen, folder),
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
