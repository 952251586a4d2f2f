//! Builds reviews like an API server's, and checks the responses.

use axum::body::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{import_name, namespace_of};
use crate::pods::{KINDS, managed_fields, pod};

/// Number of different reviews.
const COUNT: usize = 400;

/// A serialized review.
#[derive(Clone, Debug)]
pub struct Review {
    pub body: Bytes,
    uid: String,
}

/// What a response must have, in addition to the review's UID and `allowed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedResponse {
    /// A patch.
    Patch,
    /// No patch.
    NoPatch,
}

pub struct Reviews(Vec<Review>);

impl Reviews {
    /// Reviews of pods that name one or two of this number of imports.
    pub fn new(imports: usize) -> Self {
        let reviews = (0..COUNT).map(|index| {
            // Spreads the pods over all imports.
            let import = index * imports / COUNT;
            Review::new(index, &namespace_of(import), pod(index % KINDS, &names(index, import, imports)))
        });
        Self(reviews.collect())
    }

    /// The review for a request.
    pub fn get(&self, index: usize) -> Option<&Review> {
        self.0.get(index % self.0.len().max(1))
    }

    /// The smallest, the median and the largest size, in KB.
    pub fn sizes(&self) -> [f64; 3] {
        let mut sizes: Vec<_> = self.0.iter().map(|review| review.body.len() as f64 / 1000.0).collect();
        sizes.sort_by(f64::total_cmp);
        let at = |index: usize| sizes.get(index).copied().unwrap_or_default();
        [at(0), at(sizes.len() / 2), at(sizes.len().saturating_sub(1))]
    }
}

/// Every third pod names two imports of its namespace.
fn names(index: usize, import: usize, imports: usize) -> String {
    let other = (import + crate::fixture::NAMESPACES) % imports;
    let has_two = index.is_multiple_of(3) && other != import && namespace_of(other) == namespace_of(import);
    if has_two { format!("{},{}", import_name(import), import_name(other)) } else { import_name(import) }
}

impl Review {
    fn new(index: usize, namespace: &str, mut pod: Value) -> Self {
        let uid = format!("3f2b8c1e-7d4a-4e0b-9a6c-{index:012x}");
        let kind = json!({ "group": "", "version": "v1", "kind": "Pod" });
        let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
        let managed = managed_fields(&pod);
        let metadata = &mut pod["metadata"];
        metadata["namespace"] = namespace.into();
        metadata["uid"] = format!("b81c40d2-0c39-4f52-8e11-{index:012x}").into();
        metadata["creationTimestamp"] = "2026-03-01T09:30:00Z".into();
        metadata["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "name": "checkout-6d5f7c9b48", "uid": "5f1d7e5c-3d0f-4c0a-b1e9-2a6d1f0c9b7e",
            "controller": true, "blockOwnerDeletion": true }]);
        metadata["managedFields"] = managed;
        let review = json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": uid, "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
                "namespace": namespace, "operation": "CREATE",
                "userInfo": {
                    "username": "system:serviceaccount:kube-system:replicaset-controller",
                    "uid": "0d6f7f1e-5a1b-4f39-9a1e-4f0a3b5c2d1e",
                    "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system",
                        "system:authenticated"],
                    "extra": { "authentication.kubernetes.io/credential-id":
                        ["JTI=8d1f0b52-6a3e-4f57-8d52-1c7e9a4b3f60"] },
                },
                "object": pod, "oldObject": null, "dryRun": false,
                "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
            },
        });
        Self { body: review.to_string().into(), uid }
    }

    /// # Errors
    /// If the response is wrong.
    pub fn check(&self, status: StatusCode, body: &[u8], expected: ExpectedResponse) -> Result<(), String> {
        if status != StatusCode::OK {
            return Err(format!("{status}: {}", String::from_utf8_lossy(body).trim_end()));
        }
        let review: AdmissionReview =
            serde_json::from_slice(body).map_err(|error| format!("not an AdmissionReview: {error}"))?;
        let Response { uid, allowed, patch, status } = review.response;
        if !allowed {
            return Err(format!("denied: {}", status["message"]));
        }
        if uid != self.uid {
            return Err("the response is for another review".into());
        }
        let patched = patch.is_some_and(|patch| !patch.is_empty());
        if patched == (expected == ExpectedResponse::Patch) {
            Ok(())
        } else {
            Err("a patch is missing or unexpected".into())
        }
    }
}

#[derive(Deserialize)]
struct AdmissionReview {
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(default)]
    patch: Option<String>,
    #[serde(default)]
    status: Value,
}
