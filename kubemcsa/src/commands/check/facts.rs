//! What is known of a target: plain data, from which all findings follow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use mcsa_client::ServiceAccountImport;

use crate::link::existing::ExistingLink;

/// What is known. What could not be looked at is none, and said among the unseen.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When it was looked, by this machine's clock.
    pub now: Timestamp,
    /// Whether the target knows what an import is.
    pub has_crd: bool,
    /// The importer.
    pub importer: Importer,
    /// The webhook.
    pub webhook: Webhook,
    /// The links.
    pub links: Option<Vec<ExistingLink>>,
    /// Whether the Secrets of links could be read.
    pub sees_link_secrets: bool,
    /// What came of asking the importer about them.
    pub asked: Asked,
    /// All other imports, by namespace and name.
    pub imports: Option<Imports>,
    /// The namespaces, and whether the webhook is turned on in each.
    pub namespaces: Option<BTreeMap<String, bool>>,
    /// The pods that name imports.
    pub pods: Option<Vec<Pod>>,
    /// The Deployments whose pods the webhook refuses.
    pub refused: Option<Vec<Refused>>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

/// Imports, by namespace and name.
pub type Imports = BTreeMap<(String, String), ServiceAccountImport>;

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The kind.
    pub kind: String,
    /// Where.
    pub namespace: Option<String>,
    /// Why.
    pub why: String,
}

/// A Deployment whose pods the webhook refuses, or can't be asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub deployment: String,
    /// The imports that its pods name.
    pub imports: Vec<String>,
    /// What was said when the last pod was refused.
    pub message: String,
}

/// What is known of the importer.
#[derive(Clone, Debug, Default)]
pub struct Importer {
    /// Its Deployment; an importer may also run elsewhere.
    pub deployment: Option<Deployed>,
    /// The Lease, which the one that works holds wherever it runs.
    pub lease: Option<Lease>,
    /// Whether the Lease was renewed of late.
    pub is_leading: bool,
    /// Whether Deployment and Lease could both be looked at.
    pub is_seen: bool,
    /// The namespaces that it is confined to, if it is.
    pub confined: Option<BTreeSet<String>>,
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// How many pods there should be.
    pub wanted: i32,
    /// How many are available.
    pub available: i32,
}

/// What is known of the webhook.
#[derive(Clone, Debug, Default)]
pub struct Webhook {
    /// Its Deployment.
    pub deployment: Option<Deployed>,
    /// Whether the Deployment could be looked at.
    pub is_seen: bool,
    /// The entries of its configuration; none where there is no configuration.
    pub entries: Option<Vec<Entry>>,
    /// Whether the configuration could be looked at.
    pub is_configuration_seen: bool,
    /// What it serves, where the Secret says so.
    pub certificate: Option<Certificate>,
}

/// An entry of the webhook configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The URL at which the webhook is called, where it is no Service.
    pub url: Option<String>,
    /// The PEM bundle that its certificate is verified with.
    pub ca_bundle: String,
}

/// The webhook's serving certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, in PEM.
    pub chain: String,
    /// cert-manager's Certificate that it comes from, if it does.
    pub issued_by: Option<String>,
}

/// What came of asking the importer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// It was not asked, as there is nobody to answer, or nothing to ask about.
    #[default]
    Nothing,
    /// It was asked, with this request, and had so many seconds.
    Request(String, u64),
    /// We may not ask.
    Refused(String),
}

/// A pod that names imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The imports that it names.
    pub imports: Vec<String>,
    /// The Secrets that are among its volumes.
    pub secrets: BTreeSet<String>,
    /// The paths at which its containers mount something.
    pub mount_paths: BTreeSet<String>,
    /// Whether it waits to be started.
    pub is_pending: bool,
    /// What made it: kind and name. A Deployment rather than its ReplicaSet, where that was looked for.
    pub controller: Option<(String, String)>,
}

impl Facts {
    /// The imports of links.
    pub fn link_imports(&self) -> impl Iterator<Item = &ServiceAccountImport> {
        self.links.iter().flatten().filter_map(|link| link.import.as_ref())
    }

    /// All other imports, as far as they were looked at.
    pub fn other_imports(&self) -> impl Iterator<Item = &ServiceAccountImport> {
        self.imports.iter().flat_map(BTreeMap::values)
    }

    /// An import of a namespace; none also where it was not looked.
    pub fn import(&self, namespace: &str, name: &str) -> Option<&ServiceAccountImport> {
        self.imports.as_ref()?.get(&(namespace.to_owned(), name.to_owned()))
    }
}
