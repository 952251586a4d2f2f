//! A measured controller, in its own process, which measures itself.

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

use crate::replay::{Stage, release, url};
use crate::tally::{Tally, reconcile, reconcile_request};
use crate::usage::{Memory, cpu};

/// Pause before memory is measured.
const REST: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// Our controller, with this number of clusters.
    Ours(u32),
    /// kube's controller of one cluster.
    Kube,
    /// Reads the watch, and does nothing with it.
    Reader,
}

/// The configuration of a contestant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contest {
    pub who: Who,
    pub server: SocketAddr,
    pub run: u32,
    pub pods: u32,
    pub laps: u32,
    /// The clusters' certificate authority, in PEM.
    pub authority: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Resident memory before the start, in KiB.
    pub bare_kib: u64,
    /// Resident memory once all pods are listed and reconciled, in KiB.
    pub listed_kib: u64,
    /// Peak memory until then, in KiB.
    pub peak_kib: u64,
    /// Resident memory once all pods have changed, in KiB.
    pub changed_kib: u64,
    /// Processor time until all pods are listed and reconciled.
    pub listing: Duration,
    /// Processor time of all laps.
    pub changing: Duration,
    /// Processor time of the changes that arrive one by one.
    pub trickling: Duration,
    /// Duration of all laps.
    pub took: Duration,
    /// Number of reconciliations in all laps.
    pub reconciliations: u64,
}

/// Measures, and prints the figures.
#[tokio::main]
pub async fn run(contest: &str) -> anyhow::Result<()> {
    let contest: Contest = serde_json::from_str(contest)?;
    let figures = match contest.who {
        Who::Reader => read(&contest).await?,
        _ => measure(&contest).await?,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn measure(contest: &Contest) -> anyhow::Result<Figures> {
    let tally = Arc::new(Tally::new(contest.pods as usize, contest.laps.into()));
    let own = std::process::id();
    let mut figures = Figures { bare_kib: Memory::of(own)?.rss_kib, ..Default::default() };
    let started = cpu(own)?;
    let mut controller = match contest.who {
        Who::Ours(clusters) => tokio::spawn(ours(contest, clusters, tally.clone())?),
        _ => tokio::spawn(kubes(contest, tally.clone())?),
    };
    let figures = async {
        tally.listed.reached().await;
        let listed = cpu(own)?;
        figures.listing = listed - started;
        tokio::time::sleep(REST).await;
        let memory = Memory::of(own)?;
        (figures.listed_kib, figures.peak_kib) = (memory.rss_kib, memory.peak_kib);

        let (started, before, reconciliations) = (Instant::now(), cpu(own)?, tally.reconciliations());
        release(contest.server, contest.run, Stage::Laps).await?;
        tally.changed.reached().await;
        (figures.took, figures.changing) = (started.elapsed(), cpu(own)? - before);
        figures.reconciliations = tally.reconciliations() - reconciliations;
        figures.changed_kib = Memory::of(own)?.rss_kib;

        tokio::time::sleep(REST).await;
        let before = cpu(own)?;
        release(contest.server, contest.run, Stage::Trickle).await?;
        tally.trickled.reached().await;
        figures.trickling = cpu(own)? - before;
        anyhow::Ok(figures)
    };
    tokio::select! {
        figures = figures => figures,
        ended = &mut controller => bail!("the controller ended: {ended:?}"),
    }
}

fn config(contest: &Contest, clusters: u32, number: u32) -> anyhow::Result<Config> {
    let mut config = Config::new(url(contest.server, contest.run, clusters, number).parse()?);
    let authority = CertificateDer::pem_slice_iter(contest.authority.as_bytes());
    config.root_cert = Some(authority.map(|one| one.map(|one| one.to_vec())).collect::<Result<_, _>>()?);
    Ok(config)
}

fn ours(
    contest: &Contest,
    clusters: u32,
    tally: Arc<Tally>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut builder = Clusters::builder();
    for number in 0..clusters {
        let live = LiveConfig::fixed(config(contest, clusters, number)?)?;
        builder = builder.member(format!("c{number}"), live);
    }
    let clusters = builder.start()?;
    let controller = Controller::<Pod>::new(&clusters, watcher::Config::default());
    let results = controller.run(reconcile_request, |_, never, _| match *never {}, tally);
    Ok(async move {
        results.for_each(async |result| print_error(result)).await;
        // Keep the clusters until the controller ends.
        drop(clusters);
    })
}

fn kubes(contest: &Contest, tally: Arc<Tally>) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let api = Api::<Pod>::all(Client::try_from(config(contest, 1, 0)?)?);
    let controller = runtime::Controller::new(api, watcher::Config::default());
    let results = controller.run(reconcile, |_, never, _| match *never {}, tally);
    Ok(results.for_each(async |result| print_error(result)))
}

fn print_error<T, E: std::error::Error>(result: Result<(T, Action), E>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}

/// Measures how fast the events can be read.
async fn read(contest: &Contest) -> anyhow::Result<Figures> {
    let client = Client::try_from(config(contest, 1, 0)?)?;
    let mut body =
        client.send(Request::get("/api/v1/pods?watch=true").body(Body::empty())?).await?.into_body();
    let (own, started) = (std::process::id(), Instant::now());
    let before = cpu(own)?;
    release(contest.server, contest.run, Stage::Laps).await?;
    let mut events = 0;
    while events < contest.pods as usize * contest.laps as usize {
        let Some(frame) = body.frame().await.transpose()? else { bail!("the watch ended") };
        events += frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
    }
    Ok(Figures { took: started.elapsed(), changing: cpu(own)? - before, ..Default::default() })
}
