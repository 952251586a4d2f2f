//! What was collected about a target: plain data, from which all findings follow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use mcsa_client::ServiceAccountImport;

use crate::link::existing::ExistingLink;

/// Everything that was collected. What could not be read is `None`, and listed in `not_checked`.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When it was collected, by this machine's clock.
    pub now: Timestamp,
    /// Whether the target serves the CRD.
    pub has_crd: bool,
    pub importer: Importer,
    pub webhook: Webhook,
    pub links: Option<Vec<ExistingLink>>,
    /// Whether the Secrets of links could be listed.
    pub has_link_secrets: bool,
    pub check_request: CheckRequest,
    /// The imports that belong to no link.
    pub imports: Option<Imports>,
    /// The namespaces, and whether the webhook is enabled in each.
    pub namespaces: Option<BTreeMap<String, bool>>,
    /// The pods that reference imports.
    pub pods: Option<Vec<Pod>>,
    /// The Deployments whose pods the webhook refuses.
    pub refused: Option<Vec<RefusedDeployment>>,
    pub not_checked: Vec<NotChecked>,
}

/// Imports, by namespace and name.
pub type Imports = BTreeMap<(String, String), ServiceAccountImport>;

/// Objects that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotChecked {
    pub kind: String,
    /// `None`: in all namespaces, or the kind has no namespace.
    pub namespace: Option<String>,
    pub error: String,
}

/// A Deployment whose pods the webhook refuses, or the API server because it can't call the webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedDeployment {
    pub namespace: String,
    pub name: String,
    /// The imports that its pods reference.
    pub imports: Vec<String>,
    /// Why the last pod was refused.
    pub message: String,
}

#[derive(Clone, Debug, Default)]
pub struct Importer {
    /// `None` if there is no Deployment: an importer may also run outside of the cluster.
    pub deployment: Option<DeploymentStatus>,
    /// The Lease, which the leading importer holds wherever it runs.
    pub lease: Option<Lease>,
    /// Whether the Lease was renewed recently.
    pub has_leader: bool,
    /// Whether both Deployment and Lease could be read.
    pub is_readable: bool,
    /// The namespaces that the importer is confined to. `None`: all.
    pub namespaces: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// Desired number of pods.
    pub desired: i32,
    /// Available pods.
    pub available: i32,
}

#[derive(Clone, Debug, Default)]
pub struct Webhook {
    pub deployment: Option<DeploymentStatus>,
    /// Whether the Deployment could be read.
    pub is_readable: bool,
    /// The webhooks of the configuration; `None` if there is no configuration.
    pub entries: Option<Vec<Entry>>,
    /// Whether the configuration could be read.
    pub is_configuration_readable: bool,
    /// The serving certificate, if it is in the Secret.
    pub certificate: Option<Certificate>,
}

/// A webhook of the MutatingWebhookConfiguration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Its URL, if the API server does not call it through a Service.
    pub url: Option<String>,
    /// PEM bundle of the authorities that the API server trusts.
    pub ca_bundle: String,
}

/// The webhook's serving certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, in PEM.
    pub chain: String,
    /// Name of cert-manager's Certificate, if cert-manager issued it.
    pub cert_manager_name: Option<String>,
}

/// The request for connectivity checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CheckRequest {
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
pub struct Pod {
    pub namespace: String,
    pub name: String,
    /// The imports that it references.
    pub imports: Vec<String>,
    /// The Secrets in its volumes.
    pub secrets: BTreeSet<String>,
    /// The mount paths of its containers.
    pub mount_paths: BTreeSet<String>,
    /// Whether its phase is `Pending`.
    pub is_pending: bool,
    /// Kind and name of its controller: a Deployment instead of its ReplicaSet, if that was looked up.
    pub controller: Option<(String, String)>,
}

impl Facts {
    /// Whether an importer runs, or might run because that could not be checked.
    pub fn importer_may_run(&self) -> bool {
        self.importer.has_leader || !self.importer.is_readable
    }

    /// The imports of links.
    pub fn link_imports(&self) -> impl Iterator<Item = &ServiceAccountImport> {
        self.links.iter().flatten().filter_map(|link| link.import.as_ref())
    }

    /// All other imports; empty if they could not be listed.
    pub fn other_imports(&self) -> impl Iterator<Item = &ServiceAccountImport> {
        self.imports.iter().flat_map(BTreeMap::values)
    }

    /// An import; `None` also if imports could not be listed.
    pub fn import(&self, namespace: &str, name: &str) -> Option<&ServiceAccountImport> {
        self.imports.as_ref()?.get(&(namespace.to_owned(), name.to_owned()))
    }
}
