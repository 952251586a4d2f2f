//! Measures the webhook while clients that are no API servers hold connections to it.

use std::sync::Arc;
use std::time::Duration;

use mcsa_credentials::contract::webhook::PATH;
use mcsa_tests::send_unfinished_bodies;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api_server;
use crate::connection::{Connection, shake_hands};
use crate::fixture::{Fixture, namespace_of};
use crate::peak_memory::PeakMemory;
use crate::pods::KINDS;
use crate::server::{Addresses, CertificateSource, Server};
use crate::usage::Memory;

/// Number of pods that are created while strangers hold connections.
pub const PODS: usize = 200;

const SILENT: usize = 4_000;

const UNFINISHED: usize = 500;

pub struct Strangers {
    /// The idle webhook's memory.
    pub initial_kib: u64,
    /// While they send nothing.
    pub silent: CreatedPods,
    /// While they send bodies that don't end.
    pub unfinished: CreatedPods,
}

/// What was measured while pods were created.
pub struct CreatedPods {
    /// The webhook's peak memory.
    pub peak_kib: u64,
    /// Number of pods that the API server could create.
    pub created: usize,
}

/// Starts a webhook, which is idle for `idle_time` before its memory is measured.
pub async fn run(fixture: &Fixture, idle_time: Duration) -> anyhow::Result<Strangers> {
    let addresses = Addresses::free()?;
    let webhook = Server::webhook(fixture, "strangers", addresses, addresses, CertificateSource::Own).await?;
    sleep(idle_time).await;
    let initial_kib = Memory::of(webhook.id())?.rss_kib;
    let (address, trust) = (addresses.reviews, Arc::new(webhook.trust.clone()));
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(Connection::open(address, &trust).await?);
    }
    let silent = create_pods(fixture, &webhook, silent).await?;
    let mut unfinished = JoinSet::new();
    for _ in 0..UNFINISHED {
        let trust = trust.clone();
        unfinished.spawn(async move {
            let stream = shake_hands(address, &trust).await?;
            // It ends when the webhook closes the connection.
            send_unfinished_bodies(stream, PATH).await.map(drop)
        });
    }
    let unfinished = create_pods(fixture, &webhook, unfinished).await?;
    webhook.terminate().await?;
    Ok(Strangers { initial_kib, silent, unfinished })
}

/// Creates pods while the strangers hold their connections, and then drops these.
async fn create_pods<T>(fixture: &Fixture, webhook: &Server, strangers: T) -> anyhow::Result<CreatedPods> {
    let peak = PeakMemory::of(webhook.id());
    let (client, namespace) = (fixture.cluster.client(), namespace_of(0));
    let mut created = 0;
    for index in 0..PODS {
        match api_server::create(&client, &namespace, index % KINDS).await {
            Ok(()) => created += 1,
            Err(error) => eprintln!("a pod was not created: {error}"),
        }
    }
    drop(strangers);
    Ok(CreatedPods { peak_kib: peak.kib(), created })
}
