//! Measures the webhook while clients that are no API servers hold connections to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::future::join_all;
use http::Request;
use mcsa_credentials::contract::webhook::PATH;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api_server;
use crate::connection::{Connection, shake_hands};
use crate::fixture::{Fixture, namespace_of};
use crate::peak_memory::PeakMemory;
use crate::pods::KINDS;
use crate::server::{Addresses, CertificateSource, Server};
use crate::tls::Trust;
use crate::usage::Memory;

/// Pods that are created in each siege.
pub const PODS: usize = 200;

const SILENT: usize = 4_000;

const UNFINISHED: usize = 500;

/// Requests at the same time on a connection with bodies that don't end.
const REQUESTS: usize = 8;

pub struct Strangers {
    /// The idle webhook's memory.
    pub initial_kib: u64,
    /// While they send nothing.
    pub silent: Siege,
    /// While they send bodies that don't end.
    pub unfinished: Siege,
}

pub struct Siege {
    pub peak_kib: u64,
    /// Number of pods that the API server could create.
    pub created: usize,
}

pub async fn run(fixture: &Fixture) -> anyhow::Result<Strangers> {
    let addresses = Addresses::free()?;
    let webhook = Server::webhook(fixture, "strangers", addresses, addresses, CertificateSource::Own).await?;
    sleep(Duration::from_secs(3)).await;
    let initial_kib = Memory::of(webhook.id())?.rss_kib;
    let (address, trust) = (addresses.reviews, Arc::new(webhook.trust.clone()));
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(Connection::open(address, &trust).await?);
    }
    let silent = besiege(fixture, &webhook, silent).await?;
    let mut unfinished = JoinSet::new();
    for _ in 0..UNFINISHED {
        let trust = trust.clone();
        // It fails when the webhook closes the connection.
        unfinished.spawn(async move { flood(address, &trust).await.err() });
    }
    let unfinished = besiege(fixture, &webhook, unfinished).await?;
    webhook.terminate().await?;
    Ok(Strangers { initial_kib, silent, unfinished })
}

/// Creates pods while the strangers hold their connections, and then drops these.
async fn besiege<T>(fixture: &Fixture, webhook: &Server, strangers: T) -> anyhow::Result<Siege> {
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
    Ok(Siege { peak_kib: peak.kib(), created })
}

/// Sends requests whose bodies don't end, until the connection is closed.
async fn flood(address: SocketAddr, trust: &Trust) -> anyhow::Result<Infallible> {
    let stream = shake_hands(address, trust).await?;
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let body = Bytes::from_static(&[b' '; 1024 * 1024]);
    loop {
        let mut requests = Vec::new();
        for _ in 0..REQUESTS {
            sender = sender.ready().await?;
            let request = Request::post(format!("https://localhost{PATH}"));
            let request = request.header("content-type", "application/json").body(())?;
            let (response, mut stream) = sender.send_request(request, false)?;
            stream.send_data(body.clone(), false)?;
            requests.push(async move { (response.await, stream) });
        }
        join_all(requests).await;
    }
}
