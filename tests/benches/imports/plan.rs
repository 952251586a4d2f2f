//! Plans the imports and their service accounts.

use std::ops::Range;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

use crate::args::Args;

/// Number of namespaces in the target for each [`Group`], and in each source for service accounts.
pub const NAMESPACES: usize = 20;

/// Number of imports per service account.
const IMPORTS_PER_ACCOUNT: usize = 10;

/// Intended rate of refreshes per second in a round, if the limits of the lifetime allow it.
const REFRESHES_PER_SECOND: f64 = 28.0;

/// Imports that are created together, in namespaces of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Served by the importer.
    Served,
    /// Served by the baseline loops.
    Baseline,
    /// Created one by one.
    Trickle,
    /// The largest that the API server accepts.
    Large,
}

/// The numbers of imports and sources, and the tokens' lifetime.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of imports that the importer serves.
    pub imports: usize,
    /// Number of sources. Successive imports have different sources.
    pub sources: usize,
    /// The lifetime of their tokens.
    pub expiration_seconds: i64,
}

impl Group {
    /// The group's namespaces in the target.
    pub fn namespaces(self) -> impl Iterator<Item = String> {
        (0..NAMESPACES).map(move |index| self.namespace(index))
    }

    /// The name prefix of the group's namespaces. No other namespaces have it.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Served => "served-",
            Self::Baseline => "baseline-",
            Self::Trickle => "trickle-",
            Self::Large => "large-",
        }
    }

    fn namespace(self, index: usize) -> String {
        format!("{}{:02}", self.prefix(), index % NAMESPACES)
    }
}

impl Plan {
    /// A round of refreshes is spread over a tenth of the lifetime, so the lifetime must be long enough for the API
    /// servers of one machine to keep up. No refresh may be due before the round is measured, which is later with
    /// more clusters.
    pub fn new(args: &Args) -> Self {
        let (imports, sources) = (args.imports as usize, args.sources as usize);
        let lifetime = (10.0 * imports as f64 / REFRESHES_PER_SECOND) as i64;
        let minimum = if sources == 1 { 600 } else { 1800 };
        Self { imports, sources, expiration_seconds: lifetime.clamp(minimum, 86_400) }
    }

    /// The name of a source, and of its link.
    pub fn source_name(index: usize) -> String {
        format!("c{}", index + 2)
    }

    pub fn imports(self, group: Group, range: Range<usize>) -> impl Iterator<Item = ServiceAccountImport> {
        range.map(move |index| self.import(group, index))
    }

    /// The service accounts of each source, enough for all its imports.
    pub fn accounts(self) -> impl Iterator<Item = ServiceAccount> {
        let count = self.imports.div_ceil(self.sources).div_ceil(IMPORTS_PER_ACCOUNT);
        (0..count).map(|index| {
            let mut account = ServiceAccount::default();
            account.metadata.namespace = Some(account_namespace(index));
            account.metadata.name = Some(account_name(index));
            account
        })
    }

    /// The namespaces of the service accounts.
    pub fn account_namespaces() -> impl Iterator<Item = String> {
        (0..NAMESPACES).map(account_namespace)
    }

    fn import(self, group: Group, index: usize) -> ServiceAccountImport {
        // Indices beyond the planned imports have an account, too.
        let account = index % self.imports / self.sources / IMPORTS_PER_ACCOUNT;
        let spec = ServiceAccountImportSpec {
            cluster_name: Self::source_name(index % self.sources),
            namespace: account_namespace(account),
            name: account_name(account),
            expiration_seconds: self.expiration_seconds,
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new(&format!("import-{index:05}"), spec);
        import.metadata.namespace = Some(group.namespace(index / self.sources));
        import
    }
}

pub fn namespace(name: String) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name);
    namespace
}

fn account_namespace(index: usize) -> String {
    format!("accounts-{:02}", index % NAMESPACES)
}

fn account_name(index: usize) -> String {
    format!("account-{index:04}")
}
