//! Errors with their place and fix. They never quote a value.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::config::AuthInfo;
use kube::{Resource, ResourceExt};

use crate::kubeconfig::proxy::ProxyError;
use crate::kubeconfig::{self, EntryKind, FieldProblem, INSECURE, decode};

/// Why a Secret or ConfigMap cannot be used. The message names the object, the key and the fix, and quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ArgoError {
    place: Box<Place>,
    problem: Problem,
}

/// An object, or a key of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    kind: &'static str,
    pub(super) object: String,
    key: Option<String>,
    context: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("no keys; {0}")]
    Empty(&'static str),
    #[error("no such key; {0}")]
    NoKey(&'static str),
    #[error("not UTF-8; {0}")]
    NotText(&'static str),
    #[error("base64-encoded twice; encode it once in data, and not at all in stringData")]
    EncodedTwice,
    #[error("invalid JSON at line {line}, column {column}; {fix}")]
    NotJson { line: usize, column: usize, fix: &'static str },
    #[error("{0} must be {1}, as in client-go")]
    WrongType(&'static str, &'static str),
    #[error("no {0}; {1}")]
    NoField(&'static str, &'static str),
    #[error("{0} is not a URL; correct it")]
    NotAUrl(&'static str),
    #[error("{0} is not allowed; replace it with the data itself")]
    Refused(&'static str),
    #[error(
        "{0} lets anyone on the network path read the token; replace it with the cluster's certificate authority, or \
         allow insecure clusters (Reader::allow_insecure)"
    )]
    Insecure(&'static str),
    #[error("{0} disables verification, but there is a certificate authority; remove one of them")]
    InsecureAuthority(&'static str),
    #[error("only one of {0} and {1} is set; a client certificate needs both")]
    HalfACertificate(&'static str, &'static str),
    #[error("no credential; add a token or a client certificate")]
    NoCredential,
    #[error("{0}; correct it")]
    Proxy(ProxyError),
    #[error("not a kubeconfig; {0}")]
    NotAKubeconfig(&'static str),
    #[error(transparent)]
    Kubeconfig(kubeconfig::Problem),
    #[error(transparent)]
    Field(FieldProblem),

    #[error("the kubeconfig has no contexts; add one for each cluster, with the cluster's name")]
    NoContexts,
    #[error("the kubeconfig has no context {0}; add one for cluster {0}")]
    NoContext(String),
    #[error("the kubeconfig has {count} {kind}s with the name {name}; remove all but one")]
    Several { count: usize, kind: EntryKind, name: String },
    #[error("the kubeconfig has several contexts for cluster {cluster}: {contexts}; remove all but one")]
    SeveralForCluster { cluster: String, contexts: String },
    #[error("context {context} is for cluster {cluster}, but must have its name; rename one of them")]
    Misnamed { context: String, cluster: String },
    #[error("context {0} refers to a cluster or user that does not exist; add it")]
    Dangling(String),
    #[error("its namespace differs from that of {other}; make them equal, or remove one of them")]
    OtherNamespace { other: String },

    #[error("the kubeconfig has no current-context with a cluster; set it with kubectl config use-context")]
    NoCurrentContext,
    #[error("no label {0}; add it with the name of the cluster")]
    NoLabel(&'static str),
    #[error("no namespace, so it matches no workflows; add the annotation {0}, or a namespace")]
    NoNamespace(&'static str),
    #[error(
        "as specific as Secret {other} for namespace {namespace} of cluster {cluster} and workflows in \
         {workflow_namespace}; change an annotation of one of them, or delete it"
    )]
    Ambiguous { other: String, workflow_namespace: String, cluster: String, namespace: String },

    #[error("not YAML with a string for cluster; correct it")]
    NotYaml,
    #[error("the key config has another name for the local cluster; remove one of them")]
    TwoNames,
}

impl Problem {
    /// Whether the cluster of a context is wrong, and not the context or its user.
    pub(super) fn is_about_cluster(&self) -> bool {
        match self {
            Self::Insecure(_) | Self::InsecureAuthority(_) => true,
            Self::Kubeconfig(kubeconfig::Problem::Entry(entry)) => entry.kind == EntryKind::Cluster,
            _ => false,
        }
    }
}

impl From<kubeconfig::Problem> for Problem {
    fn from(problem: kubeconfig::Problem) -> Self {
        match (problem.field(), &problem) {
            (Some(FieldProblem::Refused(INSECURE)), _) => Self::Insecure(INSECURE),
            (_, kubeconfig::Problem::NoCurrentContext { .. }) => Self::NoCurrentContext,
            _ => Self::Kubeconfig(problem),
        }
    }
}

impl From<FieldProblem> for Problem {
    fn from(problem: FieldProblem) -> Self {
        match problem {
            FieldProblem::Proxy(error) => Self::Proxy(error),
            other => Self::Field(other),
        }
    }
}

impl Place {
    pub(super) fn of<R: Resource<DynamicType = ()>>(object: &R, key: Option<&str>) -> Self {
        // Objects from files may have no namespace.
        let namespace = object.namespace().map(|namespace| namespace + "/").unwrap_or_default();
        Self {
            kind: if R::kind(&()) == "Secret" { "Secret" } else { "ConfigMap" },
            object: namespace + &object.name_any(),
            key: key.map(str::to_owned),
            context: None,
        }
    }

    /// `object` is `namespace/name`.
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

pub(super) fn text<'a>(secret: &'a Secret, key: &str, fix: &'static str) -> Result<&'a str, Problem> {
    let data = secret.data.as_ref().filter(|data| !data.is_empty()).ok_or(Problem::Empty(fix))?;
    let value = data.get(key).ok_or(Problem::NoKey(fix))?;
    std::str::from_utf8(&value.0).map_err(|_| Problem::NotText(fix))
}

/// Returns [`Problem::EncodedTwice`] if the text is the base64 of JSON or a kubeconfig, and else `otherwise`.
pub(super) fn if_encoded(text: &str, otherwise: Problem) -> Problem {
    let once = decode(text).and_then(|bytes| String::from_utf8(bytes).ok());
    // JSON and kubeconfigs have a colon.
    if once.is_some_and(|once| once.contains(':')) { Problem::EncodedTwice } else { otherwise }
}

/// Rejects anonymous access, which is probably unintended.
pub(super) fn require_credential(user: &AuthInfo) -> Result<(), Problem> {
    let found = user.token.is_some() || user.client_certificate_data.is_some() || user.username.is_some();
    if found { Ok(()) } else { Err(Problem::NoCredential) }
}
