//! Why there is no config.

use std::io;
use std::path::PathBuf;

use kube::config::{InClusterError, KubeconfigError};

use crate::ServiceAccountImport;
use crate::contract;
use crate::live::Origin;

/// No config could be made. What is shown of it contains no credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name can't be that of an import, let alone of a folder.
    #[error("{0:?} is no name of an import: a DNS-1123 subdomain, such as c2-pod-lister")]
    InvalidName(String),
    /// Nothing is mounted under this name.
    #[error(
        "import {name} is not mounted in {}: name it in the pod's annotation {}, in a namespace with the label {}={}",
        root.display(), contract::IMPORT_NAME, contract::NAMESPACE_LABEL, contract::ENABLED
    )]
    NotMounted {
        /// The import's name.
        name: String,
        /// The folder where it was looked for.
        root: PathBuf,
    },
    /// More than one import is mounted, and none was named.
    #[error("{} imports are mounted ({}): choose one by config::import, or use config::imports", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
    /// A file or folder is there and can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The mounted kubeconfig is none.
    #[error("import {name}: its mounted kubeconfig can't be used: {problem}")]
    Kubeconfig {
        /// The import's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The context that was asked for can't be loaded.
    #[error("{}: {problem}", .context.as_ref().map_or("the kubeconfig's current context".into(), |name| format!("context {name}")))]
    Context {
        /// The context's name, where one was named.
        context: Option<String>,
        /// What is wrong with it.
        problem: String,
    },
    /// An import can't be read from the API server that has it.
    #[error("import {namespace}/{name}: {problem}")]
    Import {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API server, or the importer, says.
        problem: String,
    },
    /// A Secret can't be read from the API server that has it, or holds no config.
    #[error("Secret {namespace}/{name}: {problem}")]
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API server says, or what is wrong with it.
        problem: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This is no pod, or one without a service account's token.
    #[error("this is no pod with a service account: {0}")]
    InCluster(#[source] Box<InClusterError>),
    /// There is nothing to make a config from.
    #[error("no context was named, no import is mounted in {}, and {source}", root.display())]
    Nothing {
        /// The folder where imports were looked for.
        root: PathBuf,
        /// Why the pod's own service account is none.
        source: Box<ConfigError>,
    },
    /// Two members of a set would have one name.
    #[error("two clusters are called {0}: give one of them another name")]
    SameName(String),
    /// No client can be made of what was read.
    #[error("no client can be made of {origin}: {problem}")]
    Unusable {
        /// Where it was read.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    pub(crate) fn context(context: Option<&str>, source: KubeconfigError) -> Self {
        Self::Context { context: context.map(str::to_owned), problem: said(&source) }
    }

    pub(crate) fn import(namespace: &str, name: &str, source: kube::Error) -> Self {
        Self::Import { namespace: namespace.into(), name: name.into(), problem: source.to_string() }
    }

    pub(crate) fn unusable(origin: &Origin, problem: String) -> Self {
        Self::Unusable { origin: origin.to_string(), problem }
    }

    /// With what the importer says of the import.
    pub(crate) fn explained(self, import: &ServiceAccountImport) -> Self {
        let metadata = &import.metadata;
        let says = import.says().unwrap_or_default();
        Self::Import {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            problem: format!("{self}; the importer says: {says}"),
        }
    }
}

/// What is wrong with a kubeconfig. The parser's own message would quote it, and with it a token.
fn said(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(_) => "it is no kubeconfig; kubectl config view says where".into(),
        error => error.to_string(),
    }
}
