//! One review: which imports does the pod name, are they there, what is added.

use json_patch::Patch;
use kube::core::Status;
use mcsa_client::contract;
use tracing::{debug, info};

use crate::admission::{Answer, Event, Malformed, Request};
use crate::annotation::{self, Invalid};
use crate::imports::{Credential, Found, Imports, Record};
use crate::message::quote;
use crate::patch::{self, Conflict, Import, Wanted};
use crate::pod::Pod;

/// How many imports a message names.
const NAMED: usize = 10;

/// Answers a review.
///
/// # Errors
/// When the body is no review.
pub(crate) async fn review<'a>(body: &'a [u8], imports: &Imports) -> Result<Answer<'a>, Malformed> {
    let Request { uid, event, namespace, pod, stored } = Request::read(body)?;
    let admitted = match event {
        Event::Creation => create(&pod, &namespace, imports).await,
        Event::Debugging => Ok(debugging(&pod, &stored, &namespace, imports).await),
        Event::Other => Ok(Admitted::default()),
    };
    match admitted {
        Ok(Admitted { patch, warnings }) => {
            let operations = patch.0.len();
            debug!(%namespace, pod = pod.name(), ?event, operations, warnings = warnings.len(), "admitted");
            Ok(Answer::allow(uid, &patch, warnings))
        }
        Err(denial) => {
            let import = pod.imports().map(quote).unwrap_or_default();
            info!(%namespace, pod = pod.name(), %import, reason = denial.to_string(), "denied");
            Ok(Answer::deny(uid, denial.status()))
        }
    }
}

/// What may happen, and what is to be added.
#[derive(Default)]
struct Admitted {
    patch: Patch,
    warnings: Vec<String>,
}

/// Why a pod may not be created.
#[derive(Debug, thiserror::Error)]
enum Denial {
    #[error(transparent)]
    Invalid(#[from] Invalid),
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
            Self::Invalid(_) | Self::Missing { .. } | Self::Conflict(_) => (403, "Forbidden"),
        };
        Status::failure(&self.to_string(), reason).with_code(code)
    }
}

async fn create(pod: &Pod<'_>, namespace: &str, imports: &Imports) -> Result<Admitted, Denial> {
    let Some(named) = pod.imports() else { return Ok(Admitted::default()) };
    let names = annotation::names(named)?;
    let kubeconfig_env = annotation::kubeconfig_env(pod.kubeconfig_env())?;
    let found = imports.find(namespace, &names).await;
    let (wanted, warnings) = decide(namespace, found, kubeconfig_env)?;
    Ok(Admitted { patch: patch::patch(pod, &wanted)?, warnings })
}

/// Whoever debugs a pod gets what there is, and is never refused for what there is not. The pod as it
/// is stored says what it has: the API server takes nothing from the update but ephemeral containers.
async fn debugging(pod: &Pod<'_>, stored: &Pod<'_>, namespace: &str, imports: &Imports) -> Admitted {
    let names = stored.imports().and_then(|named| annotation::names(named).ok()).unwrap_or_default();
    let kubeconfig_env = annotation::kubeconfig_env(stored.kubeconfig_env()).unwrap_or_default();
    let found = imports.find(namespace, &names).await.into_iter().filter_map(|(name, found)| match found {
        Found::Import(record) => Some(import(name, record)),
        Found::Nothing | Found::Unknown(_) => None,
    });
    let wanted = Wanted { imports: found.collect(), kubeconfig_env };
    Admitted { patch: patch::patch_debugging(pod, stored, &wanted), warnings: Vec::new() }
}

fn import(name: &str, record: Record) -> Import {
    Import { name: name.to_owned(), secret: record.secret, kubeconfig: record.kubeconfig }
}

/// What to add and what to warn of, unless an import is not there.
fn decide(
    namespace: &str,
    found: Vec<(&str, Found)>,
    kubeconfig_env: bool,
) -> Result<(Wanted, Vec<String>), Denial> {
    let (mut imports, mut warnings) = (Vec::new(), Vec::new());
    let (mut missing, mut unknown) = (Vec::new(), None);
    for (name, found) in found {
        match found {
            Found::Import(record) => {
                warnings.extend(warn(namespace, name, &record, kubeconfig_env));
                imports.push(import(name, record));
            }
            Found::Nothing => missing.push(format!("{namespace}/{name}")),
            Found::Unknown(reason) => {
                let import = format!("{namespace}/{name}");
                unknown = unknown.or(Some(Denial::Unknown { import, reason }));
            }
        }
    }
    if !missing.is_empty() {
        return Err(Denial::Missing { imports: list(&missing) });
    }
    unknown.map_or(Ok((Wanted { imports, kubeconfig_env }, warnings)), Err)
}

/// What the pod will have to do without, for a while or for good.
fn warn(
    namespace: &str,
    name: &str,
    record: &Record,
    kubeconfig_env: bool,
) -> impl Iterator<Item = String> + use<> {
    let no_credential = match &record.credential {
        Credential::Present => None,
        Credential::Absent(reason) => {
            // The reason comes last: the API server may cut a warning after 256 characters.
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            Some(format!(
                "ServiceAccountImport {namespace}/{name} has no credential yet: the pod starts as soon as Secret {} \
                 is there{reason}",
                record.secret
            ))
        }
    };
    let no_kubeconfig = (kubeconfig_env && record.kubeconfig.is_none()).then(|| {
        format!("ServiceAccountImport {namespace}/{name} has no kubeconfig among its items: KUBECONFIG leaves it out")
    });
    no_credential.into_iter().chain(no_kubeconfig)
}

fn list(imports: &[String]) -> String {
    let named = imports.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match imports.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
