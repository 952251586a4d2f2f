//! The `AdmissionReview` of a pod, an import, or an object with templates of Argo Workflows: request and response.
//!
//! kube's own type serializes a patch as an array of numbers; the API specifies base64.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::Patch;
use kube::core::Status;
use mcsa_client::contract::GROUP;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::json::{Object, Text};
use crate::message;
use crate::metrics::ReviewResult;
use crate::pod::Pod;
use crate::requested_import::RequestedImport;
use crate::workflow::{self, Workflow};

pub(crate) const API_VERSION: &str = "admission.k8s.io/v1";

const KIND: &str = "AdmissionReview";

/// The body is not a review that can be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("body is not an AdmissionReview: {problem}")]
    Json { problem: String },
    #[error(
        "body is {} of {}; expected {KIND:?} of {API_VERSION:?}",
        message::quote(kind),
        message::quote(api_version)
    )]
    Type { api_version: String, kind: String },
    #[error("the AdmissionReview has no request")]
    NoRequest,
    #[error("the request for a pod has no namespace")]
    NoNamespace,
    #[error("the request to create a pod has no object")]
    NoObject,
    #[error("the request to create or update a workflow or templates has no object")]
    NoWorkflow,
}

/// Longest body that is parsed as a pod before its kind is known. Read as a pod, a workflow may take many times its size.
const MAX_UNKNOWN: usize = 64 * 1024;

/// An admission request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Repeated in the response.
    pub uid: Cow<'a, str>,
    /// The request's namespace; the object's own may still be empty. Empty if the object has none.
    pub namespace: Cow<'a, str>,
    pub change: Change<'a>,
}

/// What the request does.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    /// Creates a pod.
    Create(Box<Pod<'a>>),
    /// Adds ephemeral containers to a pod, as `kubectl debug` does.
    Debug { pod: Box<Pod<'a>>, stored: Box<Pod<'a>> },
    /// Creates or updates an object with templates of Argo Workflows. The stored one is empty on creation.
    Translate { workflow: Box<Workflow<'a>>, stored: Box<Workflow<'a>> },
    /// Creates or updates an import.
    Import(Box<RequestedImport<'a>>),
    /// Anything else, or another kind.
    Other,
}

impl Change<'_> {
    pub(crate) fn pod(&self) -> Option<&Pod<'_>> {
        match self {
            Self::Create(pod) | Self::Debug { pod, .. } => Some(pod),
            Self::Translate { .. } | Self::Import(_) | Self::Other => None,
        }
    }

    pub(crate) fn workflow(&self) -> Option<&Workflow<'_>> {
        match self {
            Self::Translate { workflow, .. } => Some(workflow),
            Self::Create(_) | Self::Debug { .. } | Self::Import(_) | Self::Other => None,
        }
    }
}

/// The kind of a [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Debug,
    Translate,
    Import,
    Other,
}

impl<'a> Request<'a> {
    /// Parses the review of a pod in one pass, and any other in at most three.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        // Validating the whole body once avoids validating each string.
        let body = str::from_utf8(body).map_err(|error| Malformed::Json { problem: error.to_string() })?;
        let pod = (body.len() <= MAX_UNKNOWN).then(|| read::<Pod>(body));
        let operation = match &pod {
            Some(Ok(request)) => request.operation(),
            // A workflow may have fields of other types than a pod has by the same names.
            Some(Err(_)) | None => {
                read::<IgnoredAny>(body).map_or(Operation::Other, |request| request.operation())
            }
        };
        if operation == Operation::Translate {
            return Self::of_workflow(read(body)?);
        }
        if operation == Operation::Import {
            return Self::of_import(read(body)?);
        }
        Self::of_pod(pod.unwrap_or_else(|| read(body))?)
    }

    fn of_pod(request: RawRequest<'a, Pod<'a>>) -> Result<Self, Malformed> {
        let operation = request.operation();
        if operation != Operation::Other && request.namespace.is_empty() {
            return Err(Malformed::NoNamespace);
        }
        let (pod, stored) = (request.object.map(boxed), request.old_object.map(boxed));
        let change = match operation {
            Operation::Create => Change::Create(pod.ok_or(Malformed::NoObject)?),
            Operation::Debug => {
                Change::Debug { pod: pod.unwrap_or_default(), stored: stored.unwrap_or_default() }
            }
            Operation::Translate | Operation::Import | Operation::Other => Change::Other,
        };
        Ok(Self { uid: request.uid, namespace: request.namespace.0, change })
    }

    fn of_workflow(request: RawRequest<'a, Workflow<'a>>) -> Result<Self, Malformed> {
        let workflow = request.object.map(boxed).ok_or(Malformed::NoWorkflow)?;
        let stored = request.old_object.map(boxed).unwrap_or_default();
        let change = Change::Translate { workflow, stored };
        Ok(Self { uid: request.uid, namespace: request.namespace.0, change })
    }

    fn of_import(request: RawRequest<'a, RequestedImport<'a>>) -> Result<Self, Malformed> {
        let change = Change::Import(request.object.map(boxed).unwrap_or_default());
        Ok(Self { uid: request.uid, namespace: request.namespace.0, change })
    }
}

fn boxed<T>(Object(object): Object<T>) -> Box<T> {
    Box::new(object)
}

/// Parses a review of objects of the type `T`, and returns its request.
fn read<'a, T: Deserialize<'a>>(body: &'a str) -> Result<RawRequest<'a, T>, Malformed> {
    let Object(review) =
        serde_json::from_str::<Object<Review<T>>>(body).map_err(|error| explain::<T>(body, error))?;
    Type { api_version: review.api_version, kind: review.kind }.check()?;
    review.request.map(|Object(request)| request).ok_or(Malformed::NoRequest)
}

/// Explains a parse error. Another version or kind is reported first, because it may explain the error.
#[cold]
fn explain<'a, T: Deserialize<'a>>(body: &'a str, error: serde_json::Error) -> Malformed {
    if let Ok(Object(found)) = serde_json::from_str::<Object<Type>>(body)
        && let Err(other) = found.check()
    {
        return other;
    }
    let mut problem = error.to_string();
    if error.is_data() {
        // Parse again, to find the path of the field.
        let mut json = serde_json::Deserializer::from_str(body);
        if let Err(error) = serde_path_to_error::deserialize::<_, Object<Review<T>>>(&mut json) {
            problem = format!("{}: {problem}", error.path());
        }
    }
    Malformed::Json { problem: message::one_line(&problem) }
}

/// A review of objects of the type `T`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a, T> {
    #[serde(borrow, default)]
    api_version: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow)]
    request: Option<Object<RawRequest<'a, T>>>,
}

/// Version and kind of a body.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Type<'a> {
    #[serde(borrow)]
    api_version: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
}

impl Type<'_> {
    fn check(self) -> Result<(), Malformed> {
        if &*self.api_version == API_VERSION && &*self.kind == KIND {
            return Ok(());
        }
        Err(Malformed::Type { api_version: self.api_version.0.into(), kind: self.kind.0.into() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest<'a, T> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    kind: Object<Kind<'a>>,
    #[serde(borrow, default)]
    sub_resource: Text<'a>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Text<'a>,
    object: Option<Object<T>>,
    old_object: Option<Object<T>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind<'a> {
    #[serde(borrow)]
    group: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
}

impl<T> RawRequest<'_, T> {
    fn operation(&self) -> Operation {
        match (&*self.kind.group, &*self.kind.kind, &*self.sub_resource, &*self.operation) {
            ("", "Pod", "", "CREATE") => Operation::Create,
            ("", "Pod", "ephemeralcontainers", "UPDATE") => Operation::Debug,
            ("argoproj.io", kind, "", "CREATE" | "UPDATE") if workflow::KINDS.contains(&kind) => {
                Operation::Translate
            }
            (GROUP, "ServiceAccountImport", "", "CREATE" | "UPDATE") => Operation::Import,
            _ => Operation::Other,
        }
    }
}

/// The review that is sent back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReviewResponse<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
    /// For metrics.
    #[serde(skip)]
    pub result: ReviewResult,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: Cow<'a, str>,
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

impl<'a> ReviewResponse<'a> {
    pub(crate) fn allow(uid: Cow<'a, str>, patch: &Patch, warnings: Vec<String>) -> Self {
        let patch = (!patch.0.is_empty()).then(|| STANDARD.encode(patch.to_string()));
        let patch_type = patch.is_some().then_some("JSONPatch");
        let result = if patch.is_some() { ReviewResult::Patched } else { ReviewResult::Unchanged };
        Self::new(result, Response { uid, allowed: true, status: None, patch, patch_type, warnings })
    }

    pub(crate) fn deny(uid: Cow<'a, str>, status: Status, result: ReviewResult) -> Self {
        let status = Some(status);
        let (patch, patch_type, warnings) = (None, None, Vec::new());
        Self::new(result, Response { uid, allowed: false, status, patch, patch_type, warnings })
    }

    fn new(result: ReviewResult, response: Response<'a>) -> Self {
        Self { api_version: API_VERSION, kind: KIND, response, result }
    }
}
