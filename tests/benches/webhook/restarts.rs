//! Restarts two replicas, one after the other.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;

use crate::args::Args;
use crate::fixture::Fixture;
use crate::reviews::{Answer, Reviews};
use crate::rounds::{Load, ask};
use crate::server::{Identity, Place, Server, probe};
use crate::service::Service;
use crate::tally::Tally;

/// Delay until the Service knows that a replica's readiness changed.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// Pause with both replicas before the next one is restarted.
const PAUSE: Duration = Duration::from_secs(1);

pub struct Restarts {
    pub tally: Tally,
    /// Number of restarts that were complete before the load ended.
    pub count: usize,
}

pub async fn run(args: &Args, fixture: &Fixture, reviews: &Arc<Reviews>) -> anyhow::Result<Restarts> {
    let places = [Place::free()?, Place::free()?];
    // Clients use one URL for both, as behind a Service.
    let start = async |place| Server::webhook(fixture, "restarts", place, places[0], Identity::Own).await;
    let mut replicas = [start(places[0]).await?, start(places[1]).await?];
    let trust = replicas[0].trust.clone();
    let service = Service::new(args.connections, places[0].address, trust, Answer::Patch);
    let service = Arc::new(service);
    service.set_ready(places.map(|place| place.address).to_vec());
    service.connect().await?;

    let window = args.all_rounds();
    let load = Load::Rate(args.rate.into());
    let (asked, asks) = (service.clone(), reviews.clone());
    let asking = tokio::spawn(async move { ask(&asked, load, &asks, window).await });
    let restarting = async {
        let mut count = 0;
        loop {
            sleep(PAUSE).await;
            let turn = count % places.len();
            replicas[turn].terminate().await?;
            let restarted = start(places[turn]).await?;
            replicas[turn] = restarted;
            if asking.is_finished() {
                return anyhow::Ok(count);
            }
            count += 1;
        }
    };
    let count = tokio::select! {
        count = restarting => count?,
        never = follow(&service, places) => match never {},
    };
    Ok(Restarts { tally: asking.await??.into_iter().collect(), count })
}

/// Tells the Service which replicas are ready.
async fn follow(service: &Service, places: [Place; 2]) -> Infallible {
    loop {
        let probes = places.map(async |place| probe(place).await.is_ok().then_some(place.address));
        let ready = join_all(probes).await.into_iter().flatten().collect();
        service.set_ready(ready);
        sleep(PROBE_EVERY).await;
    }
}
