//! A Service in front of the replicas. It distributes connections, not requests, over the ready ones.

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
use crate::reviews::{Answer, Review};
use crate::tls::Trust;

/// An API server's timeout for the webhook, from the manifest.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a request that was not processed is sent.
const ATTEMPTS: usize = 3;

/// A few connections, like those of a few API servers, to one or more replicas.
pub struct Service {
    trust: Trust,
    answer: Answer,
    ready: Mutex<Vec<SocketAddr>>,
    connections: Vec<tokio::sync::Mutex<Option<Connection>>>,
    longest: Duration,
    next: AtomicUsize,
    opened: AtomicUsize,
    certificates: Mutex<HashSet<Bytes>>,
}

impl Service {
    /// Connections to a server, and the expected answer.
    pub fn new(connections: u32, address: SocketAddr, trust: Trust, answer: Answer) -> Self {
        Self {
            trust,
            answer,
            ready: Mutex::new(vec![address]),
            connections: (0..connections).map(|_| tokio::sync::Mutex::new(None)).collect(),
            longest: Duration::MAX,
            next: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            certificates: Mutex::default(),
        }
    }

    /// Limits the lifetime of connections.
    pub fn renewing(self, longest: Duration) -> Self {
        Self { longest, ..self }
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

    /// Sends a review, and checks the answer.
    ///
    /// # Errors
    /// If there is no answer in time, or a wrong one.
    pub async fn ask(&self, review: &Review) -> Result<(), String> {
        let asked = timeout(TIMEOUT, self.try_ask(review)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))
    }

    async fn try_ask(&self, review: &Review) -> Result<(), String> {
        for _ in 0..ATTEMPTS {
            let mut connection = self.connection().await.map_err(|error| format!("{error:#}"))?;
            match connection.send(request(review)).await {
                Ok((status, body)) => return review.check(status, &body, self.answer),
                Err(Failure::Unprocessed) => {}
                Err(Failure::Other(reason)) => return Err(reason),
            }
        }
        Err(format!("not processed on {ATTEMPTS} connections"))
    }

    /// The next connection in turn. If it is closed, opens it while other requests wait.
    async fn connection(&self) -> anyhow::Result<Connection> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let place = self.connections.get(turn).context("no connections")?;
        let mut place = place.lock().await;
        match &*place {
            Some(connection) if connection.is_open() && connection.age() < self.longest => {
                Ok(connection.clone())
            }
            _ => {
                let connection = Connection::open(self.address()?, &self.trust).await?;
                let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
                certificates.insert(connection.certificate.clone());
                Ok(place.insert(connection).clone())
            }
        }
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        let turn = self.opened.fetch_add(1, Ordering::Relaxed);
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.get(turn % ready.len().max(1)).copied().context("no replica is ready")
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
