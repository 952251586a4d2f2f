//! The identity request of a connectivity check.

use std::time::Instant;

use http::Request;
use http::header::{ACCEPT, DATE, HeaderMap};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::client::Body;
use kube::core::PartialObjectMeta;
use kube::core::Status;
use mcsa_runtime::deadline::with_deadline;

use super::explain::Call;
use super::{Source, is_uid};
use crate::model::failure::Failure;

const PATH: &str = "/api/v1/namespaces/kube-system";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The response to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    pub cluster_uid: String,
    /// How far the source's clock is ahead, if the response has a `Date`.
    pub ahead: Option<SignedDuration>,
}

impl Source {
    /// Requests the cluster's identity over a new connection, even if the breaker is open: an old connection
    /// would hide a changed certificate, address or firewall. The breaker records the result.
    ///
    /// # Errors
    /// If the source does not respond, or refuses.
    pub async fn probe(&self) -> Result<ProbeResult, Failure> {
        let token = self.token_number();
        let response = self.probe_identity().await;
        match &response {
            Ok(_) => self.breaker().probe_succeeded(),
            // If the link's token has changed meanwhile, the failure is about the previous one.
            Err(failure) if self.token_number() == token => {
                self.breaker().probe_failed(failure, self.clock.now(), fastrand::f64());
            }
            Err(_) => {}
        }
        response
    }

    /// Same, but the breaker does not record the result.
    pub(super) async fn probe_identity(&self) -> Result<ProbeResult, Failure> {
        let start = Instant::now();
        let response = with_deadline(self.request_identity()).await;
        self.metrics.source_responded(&self.name, start.elapsed());
        let result = response.map_err(|error| self.failure(Call::Identity, &error))?;
        if is_uid(&result.cluster_uid) { Ok(result) } else { Err(self.invalid_uid()) }
    }

    async fn request_identity(&self) -> kube::Result<ProbeResult> {
        let client = self.client.fresh().map_err(|error| kube::Error::Service(error.into()))?;
        let request = Request::get(PATH).header(ACCEPT, METADATA).body(Body::empty());
        let sent = self.clock.now();
        let response = client.send(request.map_err(kube::Error::HttpError)?).await?;
        let now = middle(sent, self.clock.now());
        let (parts, body) = response.into_parts();
        let body = body.collect_bytes().await?;
        if !parts.status.is_success() {
            let status: Status = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
            return Err(kube::Error::Api(status.boxed()));
        }
        let namespace: PartialObjectMeta<Namespace> =
            serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
        Ok(ProbeResult {
            cluster_uid: namespace.metadata.uid.unwrap_or_default(),
            ahead: date(&parts.headers).map(|date| date.duration_since(now)),
        })
    }
}

/// About when the source read its clock for the `Date` header.
fn middle(sent: Timestamp, received: Timestamp) -> Timestamp {
    sent.saturating_add(received.duration_since(sent) / 2).unwrap_or(received)
}

/// <https://www.rfc-editor.org/rfc/rfc9110#field.date>
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(headers.get(DATE)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use rstest::rstest;

    #[rstest]
    #[case(Some("Thu, 01 Jan 1970 00:01:40 GMT"), Some(100))]
    #[case(Some("now"), None)]
    #[case(None, None)]
    fn date_header_is_parsed(#[case] value: Option<&'static str>, #[case] second: Option<i64>) {
        let headers = value.map(|value| (DATE, HeaderValue::from_static(value))).into_iter().collect();
        assert_eq!(date(&headers).map(Timestamp::as_second), second);
    }
}
