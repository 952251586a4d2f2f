//! A home pod that is being reconciled.

use k8s_openapi::api::core::v1::Pod;
use mcsa_client::clusters::Member;
use mcsa_client::controller::{Owner, Request};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;

use crate::resolve::Unresolved;
use crate::source::Source;

/// Why a pod could not be reconciled. It is retried with back-off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A call to this cluster failed.
    #[error("{}", errors::line(.0))]
    Home(#[source] kube::Error),
    /// The pod waits for something in the source or in its namespace.
    #[error("{reason}: {message}")]
    Waiting { reason: &'static str, message: String },
}

impl Error {
    /// Why the pod waits. One of few values: it is the label of a metric.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Home(_) => "ApiServerError",
            Self::Waiting { reason, .. } => reason,
        }
    }
}

/// A home pod, as last written or observed.
pub(crate) struct HomePod<'a> {
    pub(crate) request: &'a Request<Pod>,
    pub(crate) source: &'a Source,
    pub(crate) home: Pod,
}

impl<'a> HomePod<'a> {
    pub(crate) fn new(request: &'a Request<Pod>, source: &'a Source) -> Self {
        Self { request, source, home: source.states.latest(&request.object) }
    }

    /// The launch import that runs the pod.
    pub(crate) fn resolve(&self) -> Result<Member, Unresolved> {
        self.source.resolve(&self.home)
    }

    /// The home pod as the owner of its remote pod.
    pub(crate) async fn owner(&self) -> Result<Owner, Error> {
        with_deadline(self.request.owner()).await.map_err(Error::Home)
    }

    /// The error of a call to the source.
    pub(crate) fn source_error(&self, error: &kube::Error) -> Error {
        let message = format!("cluster {}: {}", self.source.cluster, errors::line(error));
        Error::Waiting { reason: "SourceError", message: errors::short(&message) }
    }
}
