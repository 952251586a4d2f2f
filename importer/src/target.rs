//! Calls to the target, with a concurrency limit and a deadline.

pub mod event;

use std::time::Duration;

use http::Request;
use http::header::{ACCEPT, HeaderValue};
use kube::api::{ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Client, core::request};
use mcsa_credentials::contract::FIELD_MANAGER;
use mcsa_runtime::deadline::with_deadline;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::metrics::Metrics;

/// Maximum number of concurrent calls, for all sources together. Each takes a connection.
const CALLS: usize = 16;

/// Longest wait until a call may start.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

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
    /// Errors of the call, its deadline, and the longest wait.
    pub async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        // The wait for other calls is not part of the call's deadline and duration. The semaphore is never closed.
        let Ok(_permit) = timeout(LONGEST_WAIT, self.calls.acquire()).await else {
            let seconds = LONGEST_WAIT.as_secs();
            let message = format!("{CALLS} other calls to the target have left no room for {seconds}s");
            return Err(kube::Error::Service(message.into()));
        };
        let start = Instant::now();
        let response = with_deadline(call).await;
        self.metrics.target_responded(start.elapsed());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;
    use kube::client::Body;
    use prometheus_client::registry::Registry;
    use std::convert::Infallible;
    use std::future::pending;
    use tower::service_fn;

    #[tokio::test(start_paused = true)]
    async fn wait_for_other_calls_is_not_part_of_a_call() {
        let mut registry = Registry::default();
        let server = service_fn(|_: Request<Body>| pending::<Result<http::Response<Body>, Infallible>>());
        let target = Target::new(Client::new(server, "default"), Metrics::new(&mut registry));
        let calls = (0..3 * CALLS).map(|_| {
            target.call(async {
                tokio::time::sleep(Duration::from_secs(9)).await;
                Ok(())
            })
        });
        let responses = join_all(calls).await;
        assert!(responses.iter().all(Result::is_ok), "{responses:?}");
        let samples = crate::metrics::samples(&registry);
        let expected = r#"mcsa_importer_target_request_duration_seconds_bucket{le="10.0"} 48"#;
        assert!(samples.iter().any(|sample| sample == expected), "{samples:#?}");
    }
}
