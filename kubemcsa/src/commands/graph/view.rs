//! What was read from a cluster, as plain data.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::READY;
use mcsa_client::contract::{CLUSTER_UID, SYSTEM_NAMESPACE};

use super::holders::{Parents, PodInfo};
use crate::link::existing::ExistingLink;
use crate::link::launcher::is_launch_import;

/// A cluster. What could not be read is `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) name: String,
    /// UID of the namespace `kube-system`, which identifies the cluster.
    pub(crate) uid: Option<String>,
    pub(crate) links: Option<Vec<LinkInfo>>,
    /// Imports, and links that were created by hand, by namespace and name.
    pub(crate) imports: Vec<ImportInfo>,
    /// The pods that may hold imports.
    pub(crate) pods: Option<Vec<PodInfo>>,
    pub(crate) parents: Parents,
}

impl View {
    /// How much could be read, to compare views of the same cluster by several users.
    pub(crate) fn extent(&self) -> (usize, bool, bool) {
        (self.imports.len(), self.links.is_some(), self.pods.is_some())
    }
}

/// What the graph needs to know about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// The source's name in this target.
    pub(crate) cluster_name: String,
    /// The UID that the link is pinned to.
    pub(crate) uid: Option<String>,
}

/// What the graph needs to know about an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportInfo {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Name of its Secret.
    pub(crate) secret: String,
    /// Whether it is the import of a link, which the importer itself holds.
    pub(crate) is_link: bool,
    /// Whether it is a launch import, which the launcher holds.
    pub(crate) is_launch: bool,
    /// Reason if it is not ready.
    pub(crate) not_ready: Option<String>,
    /// Whether no ImportPolicy permits it, although there are some for its source.
    pub(crate) not_permitted: bool,
    /// Of a link's import, who may import what from the source, in sentences; `None` if that is unknown.
    pub(crate) may_import: Option<Vec<String>>,
    /// The source's name in this target.
    pub(crate) cluster_name: String,
    /// Namespace and name of the service account in the source.
    pub(crate) account: (String, String),
}

impl LinkInfo {
    /// The UID is an annotation of the import or of the Secret.
    pub(crate) fn of(link: &ExistingLink) -> Self {
        let import = link.import.as_ref().and_then(|import| import.annotations().get(CLUSTER_UID).cloned());
        let secret = || link.secret.as_ref().and_then(|it| it.annotations().get(CLUSTER_UID).cloned());
        Self { cluster_name: link.cluster_name.clone(), uid: import.or_else(secret) }
    }

    /// The link that an import refreshes, if it is a link's.
    pub(crate) fn of_import(import: &ServiceAccountImport) -> Option<Self> {
        let uid = import.annotations().get(CLUSTER_UID).cloned();
        import.is_link().then(|| Self { cluster_name: import.spec.cluster_name.clone(), uid })
    }
}

impl ImportInfo {
    pub(crate) fn of(import: &ServiceAccountImport) -> Self {
        let not_ready = match import.condition(READY) {
            None => Some("NotReconciled".into()),
            Some(Condition { status, reason, .. }) => (status != "True").then(|| reason.clone()),
        };
        Self {
            namespace: import.namespace().unwrap_or_default(),
            name: import.name_any(),
            secret: import.secret_name(),
            is_link: import.is_link(),
            is_launch: is_launch_import(import),
            not_ready,
            not_permitted: false,
            may_import: None,
            cluster_name: import.spec.cluster_name.clone(),
            account: (import.spec.namespace.clone(), import.spec.name.clone()),
        }
    }

    /// A link that was created by hand has no import. `None` if its token does not name a service account.
    pub(crate) fn of_link_by_hand(link: &ExistingLink) -> Option<Self> {
        let secret = link.secret.as_ref()?.name_any();
        Some(Self {
            namespace: SYSTEM_NAMESPACE.into(),
            name: secret.clone(),
            secret,
            is_link: true,
            is_launch: false,
            not_ready: None,
            not_permitted: false,
            may_import: None,
            cluster_name: link.cluster_name.clone(),
            account: link.identity()?,
        })
    }
}
