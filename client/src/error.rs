//! Why a config can't be loaded.

use std::io;
use std::path::PathBuf;

use kube::config::InClusterError;

use crate::ServiceAccountImport;
use crate::contract;
use crate::kubeconfig::Problem;

/// A config can't be loaded. Neither `Display` nor `Debug` shows a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name is not a valid name of an import.
    #[error("{0:?} is not a valid import name: use a DNS-1123 subdomain, such as c2-pod-lister")]
    InvalidName(String),
    /// No import of this name is mounted.
    #[error(
        "import {name} is not mounted in {}: name it in the pod's annotation {}, in a namespace with the label {}={}",
        root.display(), contract::IMPORT_NAME, contract::NAMESPACE_LABEL, contract::ENABLED
    )]
    NotMounted {
        /// The import's name.
        name: String,
        /// The folder where it was expected.
        root: PathBuf,
    },
    /// More than one import is mounted, and the caller did not choose one.
    #[error("{} imports are mounted ({}): choose one with config::import, or use config::imports", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
    /// A file or folder exists but can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The mounted kubeconfig is unusable.
    #[error("import {name}: its mounted kubeconfig is unusable: {problem}")]
    Kubeconfig {
        /// The import's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The context can't be loaded.
    #[error("{}: {problem}", .context.as_ref().map_or("the kubeconfig's current context".into(), |name| format!("context {name}")))]
    Context {
        /// The context's name. `None`: the current context.
        context: Option<String>,
        /// What is wrong with it.
        problem: String,
    },
    /// An import can't be read from its API server.
    #[error("import {namespace}/{name}: {problem}")]
    Import {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The error of the API server, or the importer's failure message.
        problem: String,
    },
    /// A Secret can't be read from its API server, or holds no usable config.
    #[error("Secret {namespace}/{name}: {problem}")]
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The error of the API server, or what is wrong with the Secret.
        problem: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program does not run in a pod, or the pod has no service account token.
    #[error("not in a pod with a service account token: {0}")]
    InCluster(#[source] Box<InClusterError>),
    /// None of the sources of [`load`](crate::config::load) exists.
    #[error("no config found: no context was named, no import is mounted in {}, {source}", root.display())]
    NotFound {
        /// The folder where imports were expected.
        root: PathBuf,
        /// Why the pod's own service account is unusable.
        source: Box<ConfigError>,
    },
    /// Two members of a set have the same name.
    #[error("two clusters are named {0}: rename one of them")]
    DuplicateName(String),
    /// No client can be built from the config.
    #[error("can't build a client from {origin}: {problem}")]
    Unusable {
        /// Where the config comes from.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    pub(crate) fn context(context: Option<&str>, problem: &Problem) -> Self {
        Self::Context { context: context.map(str::to_owned), problem: problem.to_string() }
    }

    pub(crate) fn import(namespace: &str, name: &str, source: kube::Error) -> Self {
        Self::Import { namespace: namespace.into(), name: name.into(), problem: source.to_string() }
    }

    pub(crate) fn unusable(origin: impl ToString, problem: String) -> Self {
        Self::Unusable { origin: origin.to_string(), problem }
    }

    /// Adds the import's failure message.
    pub(crate) fn with_failure_message(self, import: &ServiceAccountImport) -> Self {
        let metadata = &import.metadata;
        let message = import.failure_message().unwrap_or_default();
        Self::Import {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            problem: format!("{self}; the importer reports: {message}"),
        }
    }
}
