//! Runs a controller in a process of its own, which measures itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use kube::runtime::controller::Action;
use kube::runtime::{self, watcher};
use kube::{Api, Client, Config};
use mcsa_client::clusters::Clusters;
use mcsa_client::controller::Controller;
use mcsa_client::live::LiveConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::counter::{Counter, reconcile, reconcile_request};
use crate::replay::{Stage, start_stage, url};
use crate::usage::{Memory, cpu};

/// Pause before the memory is measured.
const IDLE_TIME: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Implementation {
    /// Our controller, of this number of clusters.
    Ours(u32),
    /// kube's controller of one cluster.
    Kube,
    /// Reads a watch, and ignores the events.
    Reader,
}

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunOptions {
    pub implementation: Implementation,
    pub server: SocketAddr,
    /// Number of the run. The replay serves each run under its own path.
    pub run: u32,
    pub pods: u32,
    pub laps: u32,
    /// The certificate authority of the clusters, in PEM.
    pub authority: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Resident memory before the start, in KiB.
    pub initial_kib: u64,
    /// Resident memory after all pods are listed and reconciled, in KiB.
    pub listed_kib: u64,
    /// Peak memory until all pods are listed and reconciled, in KiB.
    pub peak_kib: u64,
    /// Resident memory after all pods have changed, in KiB.
    pub changed_kib: u64,
    /// Processor time until all pods are listed and reconciled.
    pub listing: Duration,
    /// Processor time of all laps.
    pub changing: Duration,
    /// Processor time of the events that arrive one by one.
    pub single_changes: Duration,
    /// Duration of all laps.
    pub duration: Duration,
    /// Number of reconciliations in all laps.
    pub reconciliations: u64,
}

/// Measures the controller, and prints the figures in JSON.
#[tokio::main]
pub async fn run(options: &str) -> anyhow::Result<()> {
    let options: RunOptions = serde_json::from_str(options)?;
    let figures = match options.implementation {
        Implementation::Reader => read(&options).await?,
        _ => measure(&options).await?,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn measure(options: &RunOptions) -> anyhow::Result<Figures> {
    let counter = Arc::new(Counter::new(options.pods as usize, options.laps.into()));
    let own = std::process::id();
    let mut figures = Figures { initial_kib: Memory::of(own)?.rss_kib, ..Default::default() };
    let started = cpu(own)?;
    let mut controller = match options.implementation {
        Implementation::Ours(clusters) => tokio::spawn(ours(options, clusters, counter.clone())?),
        _ => tokio::spawn(kubes(options, counter.clone())?),
    };
    let figures = async {
        counter.listed.reached().await;
        let listed = cpu(own)?;
        figures.listing = listed - started;
        tokio::time::sleep(IDLE_TIME).await;
        let memory = Memory::of(own)?;
        (figures.listed_kib, figures.peak_kib) = (memory.rss_kib, memory.peak_kib);

        let (started, before, reconciliations) = (Instant::now(), cpu(own)?, counter.reconciliations());
        start_stage(options.server, options.run, Stage::Laps).await?;
        counter.changed.reached().await;
        (figures.duration, figures.changing) = (started.elapsed(), cpu(own)? - before);
        figures.reconciliations = counter.reconciliations() - reconciliations;
        figures.changed_kib = Memory::of(own)?.rss_kib;

        tokio::time::sleep(IDLE_TIME).await;
        let before = cpu(own)?;
        start_stage(options.server, options.run, Stage::Trickle).await?;
        counter.single_changed.reached().await;
        figures.single_changes = cpu(own)? - before;
        anyhow::Ok(figures)
    };
    tokio::select! {
        figures = figures => figures,
        ended = &mut controller => bail!("the controller ended: {ended:?}"),
    }
}

fn cluster_config(options: &RunOptions, clusters: u32, number: u32) -> anyhow::Result<Config> {
    let mut config = Config::new(url(options.server, options.run, clusters, number).parse()?);
    let authority = CertificateDer::pem_slice_iter(options.authority.as_bytes());
    config.root_cert = Some(authority.map(|one| one.map(|one| one.to_vec())).collect::<Result<_, _>>()?);
    Ok(config)
}

fn ours(
    options: &RunOptions,
    clusters: u32,
    counter: Arc<Counter>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut builder = Clusters::builder();
    for number in 0..clusters {
        let live = LiveConfig::fixed(cluster_config(options, clusters, number)?)?;
        builder = builder.member(format!("c{number}"), live);
    }
    let clusters = builder.start()?;
    let controller = Controller::<Pod>::new(&clusters, watcher::Config::default());
    let results = controller.run(reconcile_request, |_, never, _| match *never {}, counter);
    Ok(async move {
        results.for_each(async |result| print_error(result)).await;
        // The clusters must live as long as the controller.
        drop(clusters);
    })
}

fn kubes(options: &RunOptions, counter: Arc<Counter>) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let api = Api::<Pod>::all(Client::try_from(cluster_config(options, 1, 0)?)?);
    let controller = runtime::Controller::new(api, watcher::Config::default());
    let results = controller.run(reconcile, |_, never, _| match *never {}, counter);
    Ok(results.for_each(async |result| print_error(result)))
}

fn print_error<T, E: std::error::Error>(result: Result<(T, Action), E>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}

/// Measures how fast the replay's events can be read.
async fn read(options: &RunOptions) -> anyhow::Result<Figures> {
    let client = Client::try_from(cluster_config(options, 1, 0)?)?;
    let mut body =
        client.send(Request::get("/api/v1/pods?watch=true").body(Body::empty())?).await?.into_body();
    let (own, started) = (std::process::id(), Instant::now());
    let before = cpu(own)?;
    start_stage(options.server, options.run, Stage::Laps).await?;
    let mut events = 0;
    while events < options.pods as usize * options.laps as usize {
        let Some(frame) = body.frame().await.transpose()? else { bail!("the watch ended") };
        events += frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
    }
    Ok(Figures { duration: started.elapsed(), changing: cpu(own)? - before, ..Default::default() })
}
