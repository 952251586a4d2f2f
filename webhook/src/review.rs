//! Reviews a pod: looks up the imports that it names, and those that let it run in other clusters, and returns the
//! patch or a denial. Also reviews templates of Argo Workflows, and imports.

use json_patch::Patch;
use kube::core::Status;
use mcsa_client::contract;
use tracing::field::display;
use tracing::{debug, info};

use crate::admission::{Change, Malformed, Request, ReviewResponse};
use crate::annotation::{self, Invalid};
use crate::imports::{CallError, Credential, Imports, Lookup, Record};
use crate::message::{list, quote};
use crate::metrics::ReviewResult;
use crate::patch::{self, Conflict, Import, RequestedImports};
use crate::placement::{self, Home, Refused};
use crate::pod::Pod;
use crate::requested_import::RequestedImport;
use crate::scheduling;
use crate::workflow::{self, InvalidTemplate, Workflow};

/// Parses a review and responds to it.
pub(crate) async fn review<'a>(body: &'a [u8], imports: &Imports) -> Result<ReviewResponse<'a>, Malformed> {
    let Request { uid, namespace, change } = Request::parse(body)?;
    let admitted = match &change {
        Change::Create(pod) => create(pod, &namespace, imports).await,
        Change::Debug { pod, stored } => Ok(debug(pod, stored, &namespace, imports)),
        Change::Translate { workflow, stored } => translate(workflow, stored, &namespace, imports).await,
        Change::Import(import) => Ok(permit(import, &namespace, imports).await),
        Change::Other => Ok(Admitted::default()),
    };
    let (pod, workflow) = (change.pod().map(Pod::name), change.workflow().map(Workflow::name));
    match admitted {
        Ok(Admitted { patch, warnings }) => {
            debug!(%namespace, pod, workflow, patches = patch.0.len(), warnings = warnings.len(), "admitted");
            Ok(ReviewResponse::allow(uid, &patch, warnings))
        }
        Err(denial) => {
            let import = change.pod().and_then(Pod::imports).map(|names| display(quote(names)));
            info!(%namespace, pod, workflow, import, reason = denial.to_string(), "denied");
            Ok(ReviewResponse::deny(uid, denial.status(), denial.result()))
        }
    }
}

/// The object is allowed, with this patch.
#[derive(Default)]
struct Admitted {
    patch: Patch,
    warnings: Vec<String>,
}

/// Why an object is denied.
#[derive(Debug, thiserror::Error)]
enum Denial {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(
        "ServiceAccountImport not found: {imports}; create it, or remove it from the pod's annotation {}",
        contract::IMPORT_NAME
    )]
    Missing { imports: String },
    #[error(
        "ServiceAccountImport {import} can't be used: {problem}; correct the field, or upgrade the webhook if it is older \
         than the CRD"
    )]
    InvalidImport { import: String, problem: String },
    #[error("can't look up ServiceAccountImport {import}: {error}")]
    LookupFailed { import: String, error: CallError },
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    InvalidTemplate(#[from] InvalidTemplate),
    #[error("can't list the ServiceAccountImports of namespace {namespace}: {error}")]
    ListFailed { namespace: String, error: CallError },
    #[error("can't decide whether the pod names this cluster: {reason}; try again")]
    NameUnknown { reason: String },
}

impl Denial {
    fn status(&self) -> Status {
        let (code, reason) = match self {
            Self::LookupFailed { error, .. } | Self::ListFailed { error, .. } if !error.is_temporary() => {
                (500, "InternalError")
            }
            Self::LookupFailed { .. } | Self::ListFailed { .. } | Self::NameUnknown { .. } => {
                (503, "ServiceUnavailable")
            }
            Self::Invalid(_)
            | Self::Missing { .. }
            | Self::InvalidImport { .. }
            | Self::Conflict(_)
            | Self::Refused(_)
            | Self::InvalidTemplate(_) => (403, "Forbidden"),
        };
        Status::failure(&self.to_string(), reason).with_code(code)
    }

    fn result(&self) -> ReviewResult {
        match self {
            Self::InvalidImport { .. } => ReviewResult::InvalidImport,
            Self::LookupFailed { .. } | Self::ListFailed { .. } | Self::NameUnknown { .. } => {
                ReviewResult::Unknown
            }
            Self::Invalid(_)
            | Self::Missing { .. }
            | Self::Conflict(_)
            | Self::Refused(_)
            | Self::InvalidTemplate(_) => ReviewResult::Denied,
        }
    }
}

async fn create(pod: &Pod<'_>, namespace: &str, imports: &Imports) -> Result<Admitted, Denial> {
    // Both may ask the API server, and the reviews' deadline is short.
    let (mounted, placed) = tokio::join!(mount(pod, namespace, imports), place(pod, namespace, imports));
    let (mut admitted, placed) = (mounted?, placed?);
    admitted.patch.0.extend(placed.patch.0);
    admitted.warnings.extend(placed.warnings);
    Ok(admitted)
}

/// Mounts the imports that the pod names.
async fn mount(pod: &Pod<'_>, namespace: &str, imports: &Imports) -> Result<Admitted, Denial> {
    let Some(annotation) = pod.imports() else { return Ok(Admitted::default()) };
    let names = annotation::names(annotation)?;
    let kubeconfig_env = annotation::kubeconfig_env(pod.kubeconfig_env())?;
    let lookups = imports.look_up(namespace, &names).await;
    let (requested, mut warnings) = decide(namespace, lookups, kubeconfig_env)?;
    let patch = patch::patch(pod, &requested)?;
    warnings.extend(patch::warnings(pod, &requested));
    Ok(Admitted { patch, warnings })
}

/// Restricts the pod to the clusters in which it may run.
async fn place(pod: &Pod<'_>, namespace: &str, imports: &Imports) -> Result<Admitted, Denial> {
    let Some(request) = placement::Request::of(pod) else {
        let warnings = placement::unused_namespace(pod).into_iter().collect();
        return Ok(Admitted { warnings, ..Admitted::default() });
    };
    let uses_secrets = imports.argo.contains(namespace);
    // Before the names are read, so that they include a name that is known by now.
    let problem_with_name = imports.argo.problem_with_name();
    let home = Home { namespace, names: &imports.home_names(namespace), uses_secrets };
    let mut placed = request.place(home, &imports.launch_imports(namespace));
    if request.lacks_imports(&placed) {
        // The watch may lag: a launch import and pods are often applied together.
        let listed = imports
            .list_launch_imports(namespace)
            .await
            .map_err(|error| Denial::ListFailed { namespace: namespace.to_owned(), error })?;
        placed = request.place(home, &listed);
    }
    let placement = placed?;
    if placement.by_secret
        && let Some(reason) = problem_with_name
    {
        // If it named this cluster, it would wait forever for a virtual node of that name.
        return Err(Denial::NameUnknown { reason });
    }
    let warnings = request.warning(home, &placement).into_iter().collect();
    Ok(Admitted { patch: scheduling::patch(pod, &placement), warnings })
}

/// Mounts the imports that the pod has into new ephemeral containers. Never denies the request, and never asks the API
/// server: the imports may have been deleted. Uses the stored pod's annotations, because the API server ignores
/// everything in this update except ephemeral containers.
fn debug(pod: &Pod<'_>, stored: &Pod<'_>, namespace: &str, imports: &Imports) -> Admitted {
    let names =
        stored.imports().and_then(|annotation| annotation::names(annotation).ok()).unwrap_or_default();
    let kubeconfig_env = annotation::kubeconfig_env(stored.kubeconfig_env()).unwrap_or_default();
    let cached_kubeconfig = |name: &str| imports.cached(namespace, name)?.kubeconfig;
    let imports = patch::stored_imports(stored, &names, cached_kubeconfig);
    let requested = RequestedImports { imports, kubeconfig_env };
    Admitted { patch: patch::patch_ephemeral_containers(pod, stored, &requested), warnings: Vec::new() }
}

/// Adds the annotations that the fields of templates stand for.
async fn translate(
    workflow: &Workflow<'_>,
    stored: &Workflow<'_>,
    namespace: &str,
    imports: &Imports,
) -> Result<Admitted, Denial> {
    let patch = workflow::patch(workflow, stored)?;
    let mut warnings: Vec<_> = workflow::warnings(workflow).collect();
    let own_names = imports.home_names(namespace);
    let names_other = workflow.clusters().any(|cluster| !own_names.iter().any(|name| name == cluster));
    // Without a namespace, the object is used in several. The watch may lag.
    if names_other
        && !namespace.is_empty()
        && !imports.argo.contains(namespace)
        && imports.launch_imports(namespace).is_empty()
        && imports.list_launch_imports(namespace).await.is_ok_and(|listed| listed.is_empty())
    {
        warnings.push(format!(
            "namespace {namespace} has no launch import, so its pods run in no other cluster: run kubemcsa launch \
             {namespace} --argo --target-context TARGET --source-context SOURCE"
        ));
    }
    Ok(Admitted { patch, warnings })
}

/// Allows an import, with a warning if no policy permits it.
async fn permit(import: &RequestedImport<'_>, namespace: &str, imports: &Imports) -> Admitted {
    let warning = match import.request(namespace) {
        Some(request) => imports.policy_warning(request).await,
        None => None,
    };
    Admitted { patch: Patch::default(), warnings: warning.into_iter().collect() }
}

fn import(name: &str, record: Record) -> Import {
    Import { name: name.to_owned(), secret: record.secret, kubeconfig: record.kubeconfig }
}

/// The imports to mount, and warnings. Denies a pod whose imports are missing or invalid.
fn decide(
    namespace: &str,
    lookups: Vec<(&str, Lookup)>,
    kubeconfig_env: bool,
) -> Result<(RequestedImports, Vec<String>), Denial> {
    let (mut imports, mut warnings) = (Vec::new(), Vec::new());
    let (mut missing, mut invalid, mut failed) = (Vec::new(), None, None);
    for (name, lookup) in lookups {
        match lookup {
            Lookup::Found(record) => {
                warnings.extend(warn(namespace, name, &record, kubeconfig_env));
                imports.push(import(name, record));
            }
            Lookup::NotFound => missing.push(format!("{namespace}/{name}")),
            Lookup::Invalid(problem) => {
                let import = format!("{namespace}/{name}");
                invalid = invalid.or(Some(Denial::InvalidImport { import, problem }));
            }
            Lookup::Failed(error) => {
                let import = format!("{namespace}/{name}");
                failed = failed.or(Some(Denial::LookupFailed { import, error }));
            }
        }
    }
    if !missing.is_empty() {
        return Err(Denial::Missing { imports: list(&missing) });
    }
    invalid.or(failed).map_or(Ok((RequestedImports { imports, kubeconfig_env }, warnings)), Err)
}

/// Warns of a missing credential or kubeconfig.
fn warn(
    namespace: &str,
    name: &str,
    record: &Record,
    kubeconfig_env: bool,
) -> impl Iterator<Item = String> + use<> {
    let no_credential = match &record.credential {
        Credential::Present => None,
        Credential::Absent(reason) => {
            // The reason is last, because the API server may cut warnings after 256 characters.
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            Some(format!(
                "ServiceAccountImport {namespace}/{name} has no credential yet: the pod starts when Secret {} \
                 exists{reason}",
                record.secret
            ))
        }
    };
    let no_kubeconfig = (kubeconfig_env && record.kubeconfig.is_none()).then(|| {
        format!(
            "ServiceAccountImport {namespace}/{name} has no kubeconfig item: KUBECONFIG does not include it"
        )
    });
    no_credential.into_iter().chain(no_kubeconfig)
}

#[cfg(test)]
mod tests;
