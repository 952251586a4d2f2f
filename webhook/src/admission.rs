//! The API server's question and our answer: `AdmissionReview`, as far as a webhook for pods
//! needs it.
//!
//! kube's own type writes a patch as an array of numbers; the API says base64.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::Patch;
use kube::core::Status;
use serde::{Deserialize, Serialize};

use crate::json::{Object, Text};
use crate::message;
use crate::metrics::ReviewResult;
use crate::pod::Pod;

/// The only version of `AdmissionReview` that is spoken here.
pub(crate) const API_VERSION: &str = "admission.k8s.io/v1";

const KIND: &str = "AdmissionReview";

/// What the API server sent is no question: an answer would have nowhere to go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// No JSON, or none that reads as a review.
    #[error("the body is no AdmissionReview: {problem}")]
    Json {
        /// What is wrong, and where.
        problem: String,
    },
    /// A review of another version, or something else.
    #[error(
        "the body is {} of {}; wanted: {KIND:?} of {API_VERSION:?}",
        message::quote(kind),
        message::quote(api_version)
    )]
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
}

/// What the API server is about to do.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Goes back with the answer.
    pub uid: Cow<'a, str>,
    /// What it is.
    pub event: Event,
    /// Where it happens. The object's own namespace may still be empty.
    pub namespace: Cow<'a, str>,
    /// What is to be stored.
    pub pod: Pod<'a>,
    /// What is stored so far.
    pub stored: Pod<'a>,
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is created.
    Creation,
    /// Ephemeral containers are added to it, as `kubectl debug` does.
    Debugging,
    /// Nothing that concerns its imports; or it is no pod.
    Other,
}

impl<'a> Request<'a> {
    /// Reads the question, in one pass over its text.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        // All of it, also what is skipped; then no string needs to be looked at again for that.
        let body = str::from_utf8(body).map_err(|error| Malformed::Json { problem: error.to_string() })?;
        let Object(review) =
            serde_json::from_str::<Object<Review>>(body).map_err(|error| explain(body, error))?;
        Type { api_version: review.api_version, kind: review.kind }.check()?;
        let Object(asked) = review.request.ok_or(Malformed::NoRequest)?;
        let event = asked.event();
        if event != Event::Other && asked.namespace.is_empty() {
            return Err(Malformed::NoNamespace);
        }
        if event == Event::Creation && asked.object.is_none() {
            return Err(Malformed::NoObject);
        }
        let pod = |object: Option<Object<_>>| object.map(|Object(pod)| pod).unwrap_or_default();
        let (pod, stored) = (pod(asked.object), pod(asked.old_object));
        Ok(Self { uid: asked.uid, event, namespace: asked.namespace.0, pod, stored })
    }
}

/// Why this is no review. Another version's request may look different: that it is another one says
/// more than the first difference.
#[cold]
fn explain(body: &str, error: serde_json::Error) -> Malformed {
    if let Ok(Object(found)) = serde_json::from_str::<Object<Type>>(body)
        && let Err(other) = found.check()
    {
        return other;
    }
    let mut problem = error.to_string();
    if error.is_data() {
        // Once more, for the path.
        let mut json = serde_json::Deserializer::from_str(body);
        if let Err(error) = serde_path_to_error::deserialize::<_, Object<Review>>(&mut json) {
            problem = format!("{}: {problem}", error.path());
        }
    }
    Malformed::Json { problem: message::line(&problem) }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Review<'a> {
    #[serde(borrow)]
    api_version: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    request: Option<Object<Asked<'a>>>,
}

/// What kind of thing a body is.
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
struct Asked<'a> {
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
    #[serde(borrow, default)]
    object: Option<Object<Pod<'a>>>,
    #[serde(borrow, default)]
    old_object: Option<Object<Pod<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind<'a> {
    #[serde(borrow)]
    group: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
}

impl Asked<'_> {
    fn event(&self) -> Event {
        match (&*self.kind.group, &*self.kind.kind, &*self.sub_resource, &*self.operation) {
            ("", "Pod", "", "CREATE") => Event::Creation,
            ("", "Pod", "ephemeralcontainers", "UPDATE") => Event::Debugging,
            _ => Event::Other,
        }
    }
}

/// The answer, as it is sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
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

impl<'a> Answer<'a> {
    /// Let it happen, with these changes, and tell the user these things.
    pub(crate) fn allow(uid: Cow<'a, str>, patch: &Patch, warnings: Vec<String>) -> Self {
        let patch = (!patch.0.is_empty()).then(|| STANDARD.encode(patch.to_string()));
        let patch_type = patch.is_some().then_some("JSONPatch");
        Self::new(Response { uid, allowed: true, status: None, patch, patch_type, warnings })
    }

    /// Refuse it, for this reason.
    pub(crate) fn deny(uid: Cow<'a, str>, status: Status) -> Self {
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
    pub(crate) fn result(&self) -> ReviewResult {
        let Response { allowed, patch, status, .. } = &self.response;
        let code = status.as_ref().map_or(0, |status| status.code);
        match (allowed, patch, code) {
            (true, Some(_), _) => ReviewResult::Patched,
            (true, None, _) => ReviewResult::Unchanged,
            (false, _, 503) => ReviewResult::Unknown,
            (false, ..) => ReviewResult::Denied,
        }
    }

    fn new(response: Response<'a>) -> Self {
        Self { api_version: API_VERSION, kind: KIND, response }
    }
}
