//! The API server's question and our answer: `AdmissionReview`, as far as a webhook for pods
//! needs it.
//!
//! kube's own type writes a patch as an array of numbers; the API says base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::Patch;
use kube::core::Status;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metrics::ReviewResult;

/// The only version of `AdmissionReview` that is spoken here.
pub const API_VERSION: &str = "admission.k8s.io/v1";

const KIND: &str = "AdmissionReview";

/// What the API server sent is no question: an answer would have nowhere to go.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// No JSON, or none that reads as a review.
    #[error("the body is no AdmissionReview: {0}")]
    Json(#[source] serde_json::Error),
    /// A review of another version, or something else.
    #[error("the body is {kind:?} of {api_version:?}; wanted: {KIND:?} of {API_VERSION:?}")]
    Type {
        /// Its apiVersion.
        api_version: String,
        /// Its kind.
        kind: String,
    },
    /// A review that asks nothing.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// A pod is always in a namespace.
    #[error("the request is about a pod and has no namespace")]
    NoNamespace,
    /// A creation without what is to be created.
    #[error("the request creates a pod and has no object")]
    NoObject,
    /// What is to be created is not what the request says.
    #[error("the request's object is no Pod: {0}")]
    NotAPod(#[source] serde_json::Error),
}

/// What the API server is about to do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Goes back with the answer.
    pub uid: String,
    kind: Kind,
    #[serde(default)]
    sub_resource: Option<String>,
    operation: String,
    /// Where it happens. The object's own namespace may still be empty.
    #[serde(default)]
    pub namespace: Option<String>,
    /// What is to be stored.
    #[serde(default)]
    pub object: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    kind: String,
}

impl Request {
    /// Reads the question.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let review: Question = serde_json::from_slice(body).map_err(Malformed::Json)?;
        if review.api_version != API_VERSION || review.kind != KIND {
            return Err(Malformed::Type { api_version: review.api_version, kind: review.kind });
        }
        let request = review.request.ok_or(Malformed::NoRequest)?;
        Self::deserialize(request).map_err(Malformed::Json)
    }

    /// Whether a pod is being created.
    pub fn creates_pod(&self) -> bool {
        self.operation == "CREATE"
            && self.kind.group.is_empty()
            && self.kind.kind == "Pod"
            && self.sub_resource.as_deref().unwrap_or_default().is_empty()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    // Read after the version is known to be ours: another one's request may look different.
    #[serde(default)]
    request: Option<Value>,
}

/// The answer, as it is sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Answer {
    /// Let it happen, with these changes, and tell the user these things.
    pub fn allow(uid: String, patch: &Patch, warnings: Vec<String>) -> Self {
        let patch = (!patch.0.is_empty()).then(|| STANDARD.encode(patch.to_string()));
        let patch_type = patch.is_some().then_some("JSONPatch");
        Self::new(Response { uid, allowed: true, status: None, patch, patch_type, warnings })
    }

    /// Refuse it, for this reason.
    pub fn deny(uid: String, status: Status) -> Self {
        let status = Some(status);
        Self::new(Response {
            uid,
            allowed: false,
            status,
            patch: None,
            patch_type: None,
            warnings: Vec::new(),
        })
    }

    /// What came of the question.
    pub fn result(&self) -> ReviewResult {
        let Response { allowed, patch, status, .. } = &self.response;
        let code = status.as_ref().map_or(0, |status| status.code);
        match (allowed, patch, code) {
            (true, Some(_), _) => ReviewResult::Patched,
            (true, None, _) => ReviewResult::Unchanged,
            (false, _, 503) => ReviewResult::Unknown,
            (false, ..) => ReviewResult::Denied,
        }
    }

    fn new(response: Response) -> Self {
        Self { api_version: API_VERSION, kind: KIND, response }
    }
}
