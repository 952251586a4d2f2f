//! What can be wrong, where, and what mends it. No value is ever quoted.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::config::AuthInfo;
use kube::{Resource, ResourceExt};

use crate::kubeconfig::{self, INSECURE, decoded};
use crate::system::proxy::ProxyError;

/// A Secret or a config map can't be used: which one, under which key, why, and what to do. It contains no
/// value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ArgoError {
    place: Box<Place>,
    problem: Problem,
}

/// An object, or what is under a key of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    kind: &'static str,
    pub(super) object: String,
    key: Option<String>,
    context: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("it has no keys; {0}")]
    Empty(&'static str),
    #[error("it has no such key; {0}")]
    NoKey(&'static str),
    #[error("it is not UTF-8; {0}")]
    NotText(&'static str),
    #[error("it is the base64 of what should be there: in data it is encoded once, in stringData not at all")]
    EncodedTwice,
    #[error("it is no JSON, from line {line}, column {column} on; {mend}")]
    NotJson { line: usize, column: usize, mend: &'static str },
    #[error("{0} is not {1}, as it is in client-go")]
    WrongType(&'static str, &'static str),
    #[error("it has no {0}; {1}")]
    NoField(&'static str, &'static str),
    #[error("its {0} is no URL; correct it")]
    NotAUrl(&'static str),
    #[error("it has {0}, which it must not have: put the data itself there")]
    Refused(&'static str),
    #[error(
        "it has {0}, so that whoever is on the way can read the token: put the cluster's certificate authority there, \
         or have it read with Reader::allow_insecure"
    )]
    Insecure(&'static str),
    #[error(
        "it has {0}, which means that nothing is verified, and a certificate authority; remove one of them"
    )]
    InsecureAuthority(&'static str),
    #[error("it has one of {0} and {1}; a client certificate is both")]
    HalfACertificate(&'static str, &'static str),
    #[error("it has no credential; put a token or a client certificate there")]
    NoCredential,
    #[error("its {0} is not the base64 of a PEM bundle; kubectl config view --raw has it so")]
    NotPem(&'static str),
    #[error("{0}; correct it")]
    Proxy(ProxyError),
    #[error("it is not a kubeconfig; {0}")]
    NotAKubeconfig(&'static str),
    #[error(transparent)]
    Kubeconfig(kubeconfig::Problem),

    #[error("its kubeconfig has no contexts; it needs one for each cluster, with the cluster's name")]
    NoContexts,
    #[error("its kubeconfig has no context {0}; add one for the cluster of that name")]
    NoContext(String),
    #[error("its kubeconfig has {count} {what} that are called {name}; remove all but one")]
    Several { count: usize, what: &'static str, name: String },
    #[error("its kubeconfig has several contexts for cluster {cluster}: {}; remove all but one", contexts.join(", "))]
    SeveralForCluster { cluster: String, contexts: Vec<String> },
    #[error("context {context} is for cluster {cluster}, and must be called the same: rename one of them")]
    Misnamed { context: String, cluster: String },
    #[error("context {0} names a cluster or a user that is not there; add it")]
    Dangling(String),

    #[error(
        "its kubeconfig has no current-context whose cluster is there; kubectl config use-context names one"
    )]
    NoCurrentContext,
    #[error("it has no label {0} with the name of its cluster; add it")]
    NoLabel(&'static str),
    #[error(
        "it has no namespace, which says for which workflows it is; add the annotation {0}, or the namespace"
    )]
    NoNamespace(&'static str),
    #[error(
        "Secret {other} is just as specific for namespace {namespace} of cluster {cluster} and workflows in \
         {workflow_namespace}; change an annotation of one of them, or delete it"
    )]
    Ambiguous { other: String, workflow_namespace: String, cluster: String, namespace: String },

    #[error("it is not YAML with text for cluster; correct it")]
    NotYaml,
    #[error("it names another local cluster than key config; remove one of them")]
    TwoNames,
}

impl From<kubeconfig::Problem> for Problem {
    fn from(problem: kubeconfig::Problem) -> Self {
        match problem {
            kubeconfig::Problem::Refused(INSECURE) => Self::Insecure(INSECURE),
            kubeconfig::Problem::Refused(field) => Self::Refused(field),
            kubeconfig::Problem::NotPem(field) => Self::NotPem(field),
            kubeconfig::Problem::Proxy(error) => Self::Proxy(error),
            kubeconfig::Problem::NoCluster => Self::NoCurrentContext,
            other => Self::Kubeconfig(other),
        }
    }
}

impl Place {
    /// An object, or what is under its key.
    pub(super) fn of<R: Resource<DynamicType = ()>>(object: &R, key: Option<&str>) -> Self {
        // Documents that were never applied may have no namespace.
        let namespace = object.namespace().map(|namespace| namespace + "/").unwrap_or_default();
        Self {
            kind: if R::kind(&()) == "Secret" { "Secret" } else { "ConfigMap" },
            object: namespace + &object.name_any(),
            key: key.map(str::to_owned),
            context: None,
        }
    }

    /// The Secret of this namespace and name.
    pub(super) fn secret(object: &str) -> Self {
        Self { kind: "Secret", object: object.to_owned(), key: None, context: None }
    }

    pub(super) fn in_context(self, context: &str) -> Self {
        Self { context: Some(context.to_owned()), ..self }
    }

    pub(super) fn error(self, problem: impl Into<Problem>) -> ArgoError {
        ArgoError { place: Box::new(self), problem: problem.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.object)?;
        if let Some(key) = &self.key {
            write!(formatter, ", key {key}")?;
        }
        if let Some(context) = &self.context {
            write!(formatter, ", context {context}")?;
        }
        Ok(())
    }
}

/// The text under a key.
pub(super) fn text<'a>(secret: &'a Secret, key: &str, mend: &'static str) -> Result<&'a str, Problem> {
    let data = secret.data.as_ref().filter(|data| !data.is_empty()).ok_or(Problem::Empty(mend))?;
    let value = data.get(key).ok_or(Problem::NoKey(mend))?;
    std::str::from_utf8(&value.0).map_err(|_| Problem::NotText(mend))
}

/// Why a text was not what it should be, if that is for its being encoded.
pub(super) fn if_encoded(text: &str, otherwise: Problem) -> Problem {
    let once = decoded(text).and_then(|bytes| String::from_utf8(bytes).ok());
    // JSON, or YAML of more than one word.
    if once.is_some_and(|once| once.contains(':')) { Problem::EncodedTwice } else { otherwise }
}

/// Whether there is anything to say who one is. Nobody exports a cluster for anonymous use.
pub(super) fn with_credential(user: &AuthInfo) -> Result<(), Problem> {
    let found = user.token.is_some() || user.client_certificate_data.is_some() || user.username.is_some();
    if found { Ok(()) } else { Err(Problem::NoCredential) }
}
