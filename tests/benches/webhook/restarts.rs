//! Measures reviews while two replicas are restarted, one after the other.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;

use crate::args::Args;
use crate::fixture::Fixture;
use crate::results::Results;
use crate::reviews::{ExpectedResponse, Reviews};
use crate::rounds::{Load, send_reviews};
use crate::server::{Addresses, CertificateSource, Server, probe};
use crate::service::Service;

/// Interval of the readiness probes. The Service learns of a change at most this much later.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long both replicas run before the next one is restarted.
const PAUSE: Duration = Duration::from_secs(1);

pub struct Restarts {
    pub results: Results,
    /// Number of restarts that were complete before the load ended.
    pub count: usize,
}

pub async fn run(args: &Args, fixture: &Fixture, reviews: &Arc<Reviews>) -> anyhow::Result<Restarts> {
    let all_addresses = [Addresses::free()?, Addresses::free()?];
    // Clients use one URL for both, as behind a Service.
    let start = async |addresses| {
        Server::webhook(fixture, "restarts", addresses, all_addresses[0], CertificateSource::Own).await
    };
    let mut replicas = [start(all_addresses[0]).await?, start(all_addresses[1]).await?];
    let trust = replicas[0].trust.clone();
    let service = Service::new(args.connections, all_addresses[0].reviews, trust, ExpectedResponse::Patch);
    let service = Arc::new(service);
    service.set_ready(all_addresses.map(|addresses| addresses.reviews).to_vec());
    service.connect().await?;

    let window = args.all_rounds();
    let load = Load::Rate(args.rate.into());
    let sending = tokio::spawn({
        let (service, reviews) = (service.clone(), reviews.clone());
        async move { send_reviews(&service, load, &reviews, window).await }
    });
    let restarting = async {
        let mut count = 0;
        loop {
            sleep(PAUSE).await;
            let index = count % all_addresses.len();
            replicas[index].terminate().await?;
            let restarted = start(all_addresses[index]).await?;
            replicas[index] = restarted;
            if sending.is_finished() {
                return anyhow::Ok(count);
            }
            count += 1;
        }
    };
    let count = tokio::select! {
        count = restarting => count?,
        never = update_ready_addresses(&service, all_addresses) => match never {},
    };
    Ok(Restarts { results: sending.await??.into_iter().collect(), count })
}

/// Probes the replicas, and updates the Service's ready addresses.
async fn update_ready_addresses(service: &Service, all_addresses: [Addresses; 2]) -> Infallible {
    loop {
        let probes =
            all_addresses.map(async |addresses| probe(addresses).await.is_ok().then_some(addresses.reviews));
        let ready = join_all(probes).await.into_iter().flatten().collect();
        service.set_ready(ready);
        sleep(PROBE_INTERVAL).await;
    }
}
