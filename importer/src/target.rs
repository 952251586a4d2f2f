//! Calls to the target, with a concurrency limit and a deadline.

pub mod event;

use std::time::Instant;

use http::Request;
use http::header::{ACCEPT, HeaderValue};
use kube::api::{ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Client, core::request};
use mcsa_credentials::contract::FIELD_MANAGER;
use mcsa_runtime::deadline::with_deadline;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// Maximum number of concurrent calls, for all sources together. Each takes a connection.
const CALLS: usize = 16;

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Parameters of writes, with the field manager.
pub fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() }
}

/// The cluster whose imports are served.
pub struct Target {
    /// A client that writes only while this replica leads.
    pub client: Client,
    calls: Semaphore,
    metrics: Metrics,
}

impl Target {
    /// The target of `client`.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, calls: Semaphore::new(CALLS), metrics }
    }

    /// Writes, and returns only the metadata of the stored object
    /// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>).
    ///
    /// # Errors
    /// Errors of the call, and the deadline.
    pub async fn write(&self, request: Result<Request<Vec<u8>>, request::Error>) -> kube::Result<ObjectMeta> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA));
        let response: PartialObjectMeta = self.call(self.client.request(request)).await?;
        Ok(response.metadata)
    }

    /// Makes a call.
    ///
    /// # Errors
    /// Errors of the call, and the deadline.
    pub async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let start = Instant::now();
        let response = with_deadline(async {
            // The semaphore is never closed.
            let _permit = self.calls.acquire().await;
            call.await
        });
        let response = response.await;
        self.metrics.target_responded(start.elapsed());
        response
    }
}
