//! Imports a service account between two new clusters, and shows each step: a program in c1 lists the pods of c2, with
//! a service account of c2.
//!
//! `cargo run --example quickstart`; with `-- --keep`, the clusters keep running.

mod figures;
#[path = "../narrator.rs"]
mod narrator;
mod next_steps;
mod steps;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::figures::Figures;
use crate::narrator::Narrator;
use crate::steps::Demo;

/// Import a service account between two new clusters, and show each step
#[derive(clap::Parser)]
struct Args {
    /// Keep clusters, importer and webhook running
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    mcsa_runtime::exit::report("quickstart", mcsa_tests::unless_interrupted(run(Args::parse())).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut narrator = Narrator::new();
    narrator.title("A pod of cluster c1 lists the pods of cluster c2");

    narrator.step("Building the programs, and Kubernetes if it is not in the cache");
    let programs = figures::programs()?;
    mcsa_tests::binaries().await?;
    narrator.done("built");

    narrator.step("Starting two clusters, c1 and c2, each with etcd, API server and controller manager");
    let demo = Demo::start().await?;
    narrator.done(&format!("c1 at {}, c2 at {}", demo.c1.server(), demo.c2.server()));

    narrator.step("Installing into c1");
    narrator.command("kubemcsa install --context c1 --no-wait");
    narrator.output(&demo.kubemcsa(&["install", "--context", "c1", "--no-wait"])?);
    narrator.done(
        "installed; these clusters have no nodes, so importer and webhook run as processes of this machine",
    );

    narrator.step("Linking c1 to c2, so that c1's importer can mint tokens of c2's service accounts");
    narrator.command("kubemcsa bootstrap --target-context c1 --source-context c2");
    let messages = demo.kubemcsa(&["bootstrap", "--target-context", "c1", "--source-context", "c2"])?;
    narrator.output(&messages);
    narrator.done("linked");

    narrator.step("Starting importer and webhook");
    let daemons = demo.start_importer_and_webhook().await?;
    narrator.done("running; the webhook has generated its certificate and registered it with the API server");

    narrator
        .step("In c2: creating a service account that may list pods in its namespace, and two pods to list");
    demo.create_pod_lister().await?;
    narrator.done("created");

    narrator.step("In c1: creating an import of the service account");
    narrator.yaml(steps::IMPORT);
    let ready_after = demo.create_import().await?;
    narrator.done(&format!("ready after {} ms", ready_after.as_millis()));
    narrator.output(&demo.c1.kubectl(["-n", "demo", "get", "serviceaccountimports"]).await?);

    narrator
        .step("In c1: creating a pod that references the import, in a namespace with the webhook enabled");
    narrator.yaml(steps::POD);
    narrator.output(&demo.create_pod().await?);
    narrator.done("the API server stored the pod with the import mounted into every container");

    narrator.step("Running a program that uses the client crate, with the mount that the pod would have");
    narrator.command("cargo run --example list_remote_pods");
    narrator.output(&demo.list_remote_pods(&programs.list_remote_pods).await?);
    narrator
        .done("these are c2's pods, listed with c2's service account and a token that is valid for an hour");

    Figures::measure(narrator.elapsed(), ready_after, &daemons, &programs).print(&narrator);
    if args.keep {
        let kept = demo.keep(daemons).context("keeping the clusters")?;
        next_steps::print_kept(&narrator, &kept);
    } else {
        next_steps::print(&narrator);
    }
    Ok(())
}
