//! Simulates a Service in front of the replicas. It distributes connections, not requests, over the ready ones.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use http::{Request, header};
use http_body_util::Full;
use mcsa_credentials::contract::webhook::PATH;
use tokio::time::timeout;

use crate::connection::{Connection, Failure};
use crate::reviews::{ExpectedResponse, Review};
use crate::tls::Trust;

/// The API server's timeout for the webhook, from the manifest.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many times a request that was not processed is sent.
const ATTEMPTS: usize = 3;

/// A few connections, like those of a few API servers, to one or more replicas.
pub struct Service {
    trust: Trust,
    expected: ExpectedResponse,
    ready: Mutex<Vec<SocketAddr>>,
    connections: Vec<tokio::sync::Mutex<Option<Connection>>>,
    max_age: Duration,
    next: AtomicUsize,
    opened: AtomicUsize,
    certificates: Mutex<HashSet<Bytes>>,
}

impl Service {
    /// Creates a Service with one ready address. All reviews expect the same kind of response.
    pub fn new(connections: u32, address: SocketAddr, trust: Trust, expected: ExpectedResponse) -> Self {
        Self {
            trust,
            expected,
            ready: Mutex::new(vec![address]),
            connections: (0..connections).map(|_| tokio::sync::Mutex::new(None)).collect(),
            max_age: Duration::MAX,
            next: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            certificates: Mutex::default(),
        }
    }

    /// Limits the age of connections.
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// Sets the addresses for new connections. Open connections stay, as behind a real Service.
    pub fn set_ready(&self, addresses: Vec<SocketAddr>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Number of connections opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Number of different certificates received so far.
    pub fn certificates(&self) -> usize {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Opens all connections before anything is timed.
    pub async fn connect(&self) -> anyhow::Result<()> {
        for _ in &self.connections {
            self.connection().await?;
        }
        Ok(())
    }

    /// Sends a review, and checks the response.
    ///
    /// # Errors
    /// If there is no response in time, or if it is wrong.
    pub async fn send(&self, review: &Review) -> Result<(), String> {
        let sent = timeout(TIMEOUT, self.try_send(review)).await;
        sent.unwrap_or_else(|_| Err(format!("no response within {TIMEOUT:?}")))
    }

    async fn try_send(&self, review: &Review) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            let mut connection = self.connection().await.map_err(|error| format!("{error:#}"))?;
            match connection.send(request(review)).await {
                Ok((status, body)) => return review.check(status, &body, self.expected),
                Err(Failure::Unprocessed) => {}
                Err(Failure::Other(reason)) => return Err(reason),
            }
        }
        Err(format!("not processed on {ATTEMPTS} connections"))
    }

    /// Returns the next connection, round robin. If it is closed, opens it while other requests wait.
    async fn connection(&self) -> anyhow::Result<Connection> {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let slot = self.connections.get(index).context("no connections")?;
        let mut slot = slot.lock().await;
        match &*slot {
            Some(connection) if connection.is_open() && connection.age() < self.max_age => {
                Ok(connection.clone())
            }
            _ => {
                let connection = Connection::open(self.address()?, &self.trust).await?;
                let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
                certificates.insert(connection.certificate.clone());
                Ok(slot.insert(connection).clone())
            }
        }
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        let index = self.opened.fetch_add(1, Ordering::Relaxed);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.get(index % ready.len().max(1)).copied().context("no replica is ready")
    }
}

/// A request like an API server's.
fn request(review: &Review) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(review.body.clone()));
    *request.method_mut() = http::Method::POST;
    // The servers use only the path. HTTP/2 requires an authority.
    let uri = format!("https://webhook{PATH}?timeout={}s", TIMEOUT.as_secs());
    *request.uri_mut() = uri.parse().unwrap_or_default();
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::ACCEPT, json.clone());
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    let agent = header::HeaderValue::from_static("kube-apiserver-admission");
    request.headers_mut().insert(header::USER_AGENT, agent);
    request
}
