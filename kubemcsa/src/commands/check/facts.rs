//! What was collected about a target: plain data, from which all findings follow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::{ARGO, NO_RIGHTS_TO_OUTPUTS, OUTPUTS_NOT_KEPT};

use crate::cluster::policies::Policies;
use crate::link::existing::ExistingLink;
use crate::link::launcher::is_launch_import;

/// Everything that was collected. `None` means that it could not be read; then `not_checked` has the error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// When the last fact was collected, by this machine's clock.
    pub(crate) now: Timestamp,
    /// Whether the target serves the CRD.
    pub(crate) has_crd: bool,
    pub(crate) importer: Importer,
    pub(crate) webhook: Webhook,
    pub(crate) launcher: Launcher,
    pub(crate) links: Option<Vec<ExistingLink>>,
    /// Whether the Secrets of links could be listed.
    pub(crate) are_link_secrets_readable: bool,
    pub(crate) check_request: CheckRequest,
    /// The imports that belong to no link.
    pub(crate) imports: Option<Imports>,
    /// The policies that the imports need.
    pub(crate) policies: Option<Policies>,
    /// The namespaces, and whether the webhook is enabled in each.
    pub(crate) namespaces: Option<BTreeMap<String, bool>>,
    /// The pods that reference imports.
    pub(crate) pods: Option<Vec<Pod>>,
    /// The steps of Argo Workflows that wait on virtual nodes; empty also if pods could not be listed.
    pub(crate) waiting_steps: Vec<WaitingStep>,
    /// The Deployments whose pods the webhook refuses.
    pub(crate) refused: Option<Vec<RefusedDeployment>>,
    pub(crate) not_checked: Vec<NotChecked>,
}

/// Imports, by namespace and name.
pub(crate) type Imports = BTreeMap<(String, String), ServiceAccountImport>;

/// Objects that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotChecked {
    pub(crate) kind: String,
    /// `None`: in all namespaces, or the kind has no namespace.
    pub(crate) namespace: Option<String>,
    pub(crate) error: String,
    /// Whether the API server refused it.
    pub(crate) is_refused: bool,
}

/// A Deployment whose pods the webhook refuses, or the API server because it can't call the webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefusedDeployment {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The imports that its pods reference.
    pub(crate) imports: Vec<String>,
    /// Why the last pod was refused.
    pub(crate) message: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Importer {
    /// `None` if there is no Deployment: an importer may also run outside of the cluster.
    pub(crate) deployment: Option<DeploymentStatus>,
    /// The Lease, which the leading importer holds wherever it runs.
    pub(crate) lease: Option<Lease>,
    /// Whether the Lease was renewed recently.
    pub(crate) has_leader: bool,
    /// Whether both Deployment and Lease could be read.
    pub(crate) is_readable: bool,
    /// The namespaces that the importer is confined to. `None`: all.
    pub(crate) namespaces: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeploymentStatus {
    /// Desired number of pods.
    pub(crate) desired: i32,
    /// Available pods.
    pub(crate) available: i32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Webhook {
    pub(crate) deployment: Option<DeploymentStatus>,
    /// Whether the Deployment could be read.
    pub(crate) is_readable: bool,
    /// The webhooks of the configuration; `None` if there is no configuration.
    pub(crate) entries: Option<Vec<Entry>>,
    /// Whether the configuration could be read.
    pub(crate) is_configuration_readable: bool,
    /// The serving certificate, if it is in the Secret.
    pub(crate) certificate: Option<Certificate>,
}

/// What launch imports need. It is collected only if there are any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launcher {
    pub(crate) deployment: Option<DeploymentStatus>,
    /// Whether the Deployment could be read.
    pub(crate) is_readable: bool,
    /// The nodes that have the names of sources. A source whose node could not be read is missing.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// Namespaces and names of the launch imports whose Secrets the launcher may not read.
    pub(crate) denied: BTreeSet<(String, String)>,
    /// Namespaces and names of the launch imports for Argo where the launcher may not write the outputs of steps.
    pub(crate) outputs_denied: BTreeSet<(String, String)>,
    /// The CRDs of Argo whose templates lack fields; empty also without launch imports for Argo.
    pub(crate) without_template_fields: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// The virtual node of the source.
    Virtual,
    /// Another node of the same name.
    Other,
    /// There is no such node.
    Missing,
}

/// A webhook of the MutatingWebhookConfiguration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Its URL, if the API server does not call it through a Service.
    pub(crate) url: Option<String>,
    /// PEM bundle of the authorities that the API server trusts.
    pub(crate) ca_bundle: String,
}

/// The webhook's serving certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The chain, in PEM.
    pub(crate) chain: String,
    /// Name of cert-manager's Certificate, if cert-manager issued it.
    pub(crate) cert_manager_name: Option<String>,
}

/// The request for connectivity checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CheckRequest {
    /// No importer runs, or there is no link to check.
    #[default]
    NotSent,
    /// The importer had this number of seconds to check all links.
    Sent { request: String, seconds: u64 },
    /// The annotation could not be written.
    Failed(String),
}

/// A pod that references imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The imports that it references.
    pub(crate) imports: Vec<String>,
    /// The Secrets in its volumes.
    pub(crate) secrets: BTreeSet<String>,
    /// The mount paths of its containers.
    pub(crate) mount_paths: BTreeSet<String>,
    /// Whether its phase is `Pending`.
    pub(crate) is_pending: bool,
    /// Kind and name of its controller: a Deployment instead of its ReplicaSet, if that was looked up.
    pub(crate) controller: Option<(String, String)>,
}

/// A step of Argo Workflows that waits on a virtual node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitingStep {
    pub(crate) namespace: String,
    pub(crate) node: String,
    /// The namespace of the source that the pod selects, if it selects one.
    pub(crate) remote_namespace: Option<String>,
    pub(crate) missing: Missing,
}

/// What the source lacks, as the launcher has written it to the status of a step's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Missing {
    /// The launcher's rights to outputs.
    Rights,
    /// The Workflow that owns outputs in a source with that kind.
    Stub,
}

impl Missing {
    /// Reads the reason in the status of a pod.
    pub(crate) fn of_reason(reason: &str) -> Option<Self> {
        match reason {
            NO_RIGHTS_TO_OUTPUTS => Some(Self::Rights),
            OUTPUTS_NOT_KEPT => Some(Self::Stub),
            _ => None,
        }
    }
}

/// Whether a launch import gives rights to the outputs of Argo's steps.
pub(crate) fn is_for_argo(import: &ServiceAccountImport) -> bool {
    import.annotations().get(ARGO).is_some_and(|value| value == "true")
}

impl Facts {
    /// Whether an importer runs, or might run because that could not be checked.
    pub(crate) fn importer_may_run(&self) -> bool {
        self.importer.has_leader || !self.importer.is_readable
    }

    /// The imports of links.
    pub(crate) fn link_imports(&self) -> impl Iterator<Item = &ServiceAccountImport> {
        self.links.iter().flatten().filter_map(|link| link.import.as_ref())
    }

    /// All other imports; empty if they could not be listed.
    pub(crate) fn other_imports(&self) -> impl Iterator<Item = &ServiceAccountImport> {
        self.imports.iter().flat_map(BTreeMap::values)
    }

    /// The imports that the launcher runs pods with.
    pub(crate) fn launch_imports(&self) -> impl Iterator<Item = &ServiceAccountImport> {
        self.other_imports().filter(|import| is_launch_import(import))
    }

    /// An import; `None` also if imports could not be listed.
    pub(crate) fn import(&self, namespace: &str, name: &str) -> Option<&ServiceAccountImport> {
        self.imports.as_ref()?.get(&(namespace.to_owned(), name.to_owned()))
    }
}
