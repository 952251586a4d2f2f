//! The main job, from nothing, on two real clusters: a pod of c1 lists the pods of c2, as a service
//! account of c2.
//!
//! `cargo run --example quickstart`; with `-- --keep`, the clusters stay.

mod figures;
mod narrator;
mod steps;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::figures::Figures;
use crate::narrator::Narrator;
use crate::steps::Demo;

/// Does the main job on two real clusters, and shows it.
#[derive(clap::Parser)]
struct Args {
    /// Leave clusters, importer and webhook running
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    mcsa_tests::init();
    match mcsa_tests::unless_interrupted(run(Args::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut narrator = Narrator::new();
    narrator.title("A pod of cluster c1 lists the pods of cluster c2");

    narrator.step("Building the programs, and Kubernetes if this machine has not done so before");
    let programs = figures::programs()?;
    mcsa_tests::binaries().await?;
    narrator.done("built");

    narrator.step("Starting two real clusters, c1 and c2: etcd, API server and controller manager each");
    let demo = Demo::start().await?;
    narrator.done(&format!("c1 at {}, c2 at {}", demo.c1.server(), demo.c2.server()));

    narrator.step("Installing into c1");
    narrator.command("kubemcsa install --context c1 --no-wait");
    narrator.output(&demo.kubemcsa(&["install", "--context", "c1", "--no-wait"])?);
    narrator.done(
        "installed; there is no node here to run pods, so importer and webhook run beside the clusters",
    );

    narrator.step("Linking c1 to c2: c1's importer may then mint tokens of c2's service accounts");
    narrator.command("kubemcsa bootstrap --target-context c1 --source-context c2");
    let said = demo.kubemcsa(&["bootstrap", "--target-context", "c1", "--source-context", "c2"])?;
    narrator.output(&said);
    narrator.done("linked");

    narrator.step("Starting importer and webhook");
    let daemons = demo.start_importer_and_webhook().await?;
    narrator.done("both run; the webhook has made its certificate and registered itself");

    narrator.step(
        "In c2: a service account pod-lister that may list pods in its namespace, and two pods to list",
    );
    demo.make_pod_lister().await?;
    narrator.done("made");

    narrator.step("In c1: declaring the import");
    narrator.yaml(steps::IMPORT);
    let ready_after = demo.declare_import().await?;
    narrator.done(&format!("Ready {} ms after it was declared", ready_after.as_millis()));
    narrator.output(&demo.c1.kubectl(["-n", "demo", "get", "serviceaccountimports"]).await?);

    narrator.step("In c1: a pod that names the import, in a namespace that lets the webhook work");
    narrator.yaml(steps::POD);
    narrator.output(&demo.create_pod().await?);
    narrator.done("the API server stored the pod with the import mounted into every container");

    narrator.step("Where the mount would be: a program with one line of the client crate");
    narrator.command("cargo run --example list_remote_pods");
    narrator.output(&demo.list_remote_pods(&programs.list_remote_pods).await?);
    narrator.done("these are c2's pods, listed by c2's service account, with a token that lives for an hour");

    Figures::measure(narrator.elapsed(), ready_after, &daemons, &programs).print(&narrator);
    if args.keep {
        let kept = demo.keep(daemons).context("keeping the clusters")?;
        narrator.next_steps_kept(&kept);
    } else {
        narrator.next_steps();
    }
    Ok(())
}
