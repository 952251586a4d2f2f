//! One review: which imports does the pod name, are they there, what is added.

use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::Status;
use mcsa_client::contract;
use serde::Deserialize;
use tracing::{debug, info};

use crate::admission::{Answer, Malformed, Request};
use crate::annotation::{self, InvalidName};
use crate::imports::{Credential, Found, Imports};
use crate::patch::{self, Conflict, Import};
use crate::text::quote;

/// Of a pod that the kubelet runs by itself: what the API server shows is only its mirror, and
/// may not refer to any Secret.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// How many imports a message names.
const NAMED: usize = 10;

/// Answers a review.
///
/// # Errors
/// When the body is no review.
pub async fn review(body: &[u8], imports: &Imports) -> Result<Answer, Malformed> {
    let request = Request::read(body)?;
    if !request.creates_pod() {
        return Ok(Answer::allow(request.uid, &Patch(Vec::new()), Vec::new()));
    }
    let namespace =
        request.namespace.filter(|namespace| !namespace.is_empty()).ok_or(Malformed::NoNamespace)?;
    let object = request.object.ok_or(Malformed::NoObject)?;
    let pod = Pod::deserialize(object).map_err(Malformed::NotAPod)?;
    match admit(&pod, &namespace, imports).await {
        Ok(Admitted { patch, warnings }) => {
            let operations = patch.0.len();
            debug!(namespace, pod = name(&pod), operations, warnings = warnings.len(), "admitted");
            Ok(Answer::allow(request.uid, &patch, warnings))
        }
        Err(denial) => {
            let import =
                pod.annotations().get(contract::IMPORT_NAME).map(|value| quote(value)).unwrap_or_default();
            info!(namespace, pod = name(&pod), %import, reason = denial.to_string(), "denied");
            Ok(Answer::deny(request.uid, denial.status()))
        }
    }
}

/// A pod that may be created, with what is to be added.
struct Admitted {
    patch: Patch,
    warnings: Vec<String>,
}

/// Why a pod may not be created.
#[derive(Debug, thiserror::Error)]
enum Denial {
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    #[error(
        "no such import: create ServiceAccountImport {imports}, or remove it from annotation {} of the pod",
        contract::IMPORT_NAME
    )]
    Missing { imports: String },
    #[error("ServiceAccountImport {import} could not be looked up: {reason}; try again")]
    Unknown { import: String, reason: String },
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

impl Denial {
    fn status(&self) -> Status {
        let (code, reason) = match self {
            Self::Unknown { .. } => (503, "ServiceUnavailable"),
            Self::InvalidName(_) | Self::Missing { .. } | Self::Conflict(_) => (403, "Forbidden"),
        };
        Status::failure(&self.to_string(), reason).with_code(code)
    }
}

async fn admit(pod: &Pod, namespace: &str, imports: &Imports) -> Result<Admitted, Denial> {
    let names = match pod.annotations().get(contract::IMPORT_NAME) {
        Some(value) if !pod.annotations().contains_key(MIRROR) => annotation::names(value)?,
        _ => Vec::new(),
    };
    let found = imports.find(namespace, &names).await;
    let (wanted, warnings) = decide(namespace, found)?;
    Ok(Admitted { patch: patch::patch(pod, &wanted)?, warnings })
}

/// What to mount and what to warn of, unless an import is not there.
fn decide(namespace: &str, found: Vec<(&str, Found)>) -> Result<(Vec<Import>, Vec<String>), Denial> {
    let (mut wanted, mut warnings) = (Vec::new(), Vec::new());
    let (mut missing, mut unknown) = (Vec::new(), None);
    for (name, found) in found {
        let import = format!("{namespace}/{name}");
        match found {
            Found::Import(record) => {
                if let Credential::Absent(reason) = record.credential {
                    warnings.push(warning(&import, &record.secret, reason));
                }
                wanted.push(Import { name: name.to_owned(), secret: record.secret });
            }
            Found::Nothing => missing.push(import),
            Found::Unknown(reason) => unknown = unknown.or(Some(Denial::Unknown { import, reason })),
        }
    }
    if !missing.is_empty() {
        return Err(Denial::Missing { imports: list(&missing) });
    }
    unknown.map_or(Ok((wanted, warnings)), Err)
}

/// The reason comes last: the API server may cut a warning after 256 characters.
fn warning(import: &str, secret: &str, reason: Option<String>) -> String {
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "ServiceAccountImport {import} has no credential yet: the pod starts as soon as Secret {secret} is there{reason}"
    )
}

fn list(imports: &[String]) -> String {
    let named = imports.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match imports.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// What the user knows the pod by; a controller leaves the end of the name to the API server.
fn name(pod: &Pod) -> &str {
    let names = [&pod.metadata.name, &pod.metadata.generate_name];
    names.into_iter().flatten().find(|name| !name.is_empty()).map(String::as_str).unwrap_or_default()
}
