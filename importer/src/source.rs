//! A source: the API server that a link leads to, and the three calls that are made there.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_client::credential::Endpoint;
use mcsa_client::link::Link;
use mcsa_runtime::errors;

use crate::failure::{Failure, Reason};
use crate::target::{DEADLINE, in_time};

/// A source, as one link leads to it. A changed link is another source.
pub struct Source {
    name: String,
    endpoint: Endpoint,
    pinned_uid: Option<String>,
    client: Client,
    /// The UID that the cluster gave, until there is a reason to ask again.
    known_uid: Mutex<Option<String>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).field("endpoint", &self.endpoint).finish()
    }
}

impl Source {
    /// The source that `link` leads to. Nothing is connected yet.
    ///
    /// # Errors
    /// When no client can be made, as from a CA bundle that is none.
    pub fn new(link: Link) -> Result<Self, kube::Error> {
        let mut config = link.config;
        config.default_retry = false;
        config.connect_timeout = Some(DEADLINE / 2);
        Ok(Self {
            name: link.cluster_name,
            endpoint: link.endpoint,
            pinned_uid: link.cluster_uid,
            client: Client::try_from(config)?,
            known_uid: Mutex::default(),
        })
    }

    /// How consumers reach it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The UID of the cluster that the link was made for, where it is pinned.
    pub fn pinned_uid(&self) -> Option<&str> {
        self.pinned_uid.as_deref()
    }

    /// The UID of the cluster that answers. It is asked once, and again after each doubt.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn cluster_uid(&self) -> Result<String, Failure> {
        let known = self.known_uid.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(uid) = known {
            return Ok(uid);
        }
        let what = "its identity (get namespace kube-system)";
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let namespace = self.answer(what, namespaces.get("kube-system")).await?;
        let uid = namespace.metadata.uid.unwrap_or_default();
        *self.known_uid.lock().unwrap_or_else(PoisonError::into_inner) = Some(uid.clone());
        Ok(uid)
    }

    /// Has the next [`Source::cluster_uid`] ask the cluster.
    pub fn doubt(&self) {
        *self.known_uid.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Mints a token of a service account.
    ///
    /// # Errors
    /// When the source does not answer, or refuses.
    pub async fn request_token(
        &self,
        namespace: &str,
        service_account: &str,
        request: &TokenRequest,
    ) -> Result<TokenRequest, Failure> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let what = format!("a token of {namespace}/{service_account}");
        let parameters = PostParams::default();
        self.answer(&what, accounts.create_token_request(service_account, &parameters, request)).await
    }

    async fn answer<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let failure = match in_time(call).await {
            Ok(answer) => return Ok(answer),
            Err(error) => self.failure(what, &error),
        };
        if matches!(failure.reason, Reason::SourceUnreachable | Reason::LinkUnauthorized) {
            self.doubt();
        }
        Err(failure)
    }

    fn unreachable(&self, what: &str, problem: &str) -> Failure {
        let Self { name, endpoint, .. } = self;
        let message = format!(
            "asking {name} at {} for {what}: {problem}; check that it is up and that the importer can reach it",
            endpoint.server
        );
        Failure::new(Reason::SourceUnreachable, message)
    }

    fn failure(&self, what: &str, error: &kube::Error) -> Failure {
        let kube::Error::Api(status) = error else {
            return self.unreachable(what, &errors::line(error));
        };
        let name = &self.name;
        let kind = status.details.as_ref().map_or("", |details| details.kind.as_str());
        let (reason, mend) = match (status.code, kind) {
            (401, _) => (Reason::LinkUnauthorized, "run kubemcsa bootstrap again for this source"),
            (403, _) => {
                (Reason::Forbidden, "allow it in the source: run kubemcsa bootstrap again, or ask its owners")
            }
            (404, "secrets") => {
                (Reason::BoundSecretNotFound, "create it in the source, or change spec.boundSecret")
            }
            (404, _) => (
                Reason::ServiceAccountNotFound,
                "create the service account in the source, or change spec.namespace and spec.name",
            ),
            (400 | 422, _) => (Reason::InvalidSpec, "change the import's spec"),
            (429, _) => (Reason::Throttled, "it is asked again later"),
            _ => (Reason::SourceFailed, "it is asked again later"),
        };
        let retry_after = status.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
        Failure {
            retry_after: retry_after.filter(|seconds| *seconds > 0).map(Duration::from_secs),
            ..Failure::new(reason, format!("{name} refuses {what}: {}; {mend}", status.message))
        }
    }
}
