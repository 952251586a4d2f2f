//! What a request asks of a kubelet, and the same request to the source's API server. Pure functions.
//!
//! The API server of the target builds these paths in `pkg/registry/core/pod/strategy.go`, and kubelets serve them in
//! `pkg/kubelet/server/server.go`.

use std::fmt;

use http::Method;
use percent_encoding::percent_decode_str;

use super::query;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// An operation on a home pod.
    Pod(PodRoute),
    Healthz,
    /// The pods of the node.
    Pods,
    /// Below `/stats`.
    Stats,
    /// Usage of a node and its pods: `/metrics/resource/<node>`. All nodes have one address, so the path names the node.
    Usage(String),
    /// Other metrics, below `/metrics`.
    Metrics,
    /// What we don't serve, `/run` for example.
    Other,
}

/// An operation on a home pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodRoute {
    pub(super) operation: Operation,
    pub(super) namespace: String,
    pub(super) pod: String,
    /// The home pod's UID, if the caller names it. API servers do not.
    pub(super) uid: Option<String>,
    /// The query of the source's API, without a question mark.
    query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Logs,
    Exec,
    Attach,
    PortForward,
}

/// The options of `pods/log` that kubelets have, too. `stream` is below.
const LOG_OPTIONS: [&str; 8] = [
    "follow",
    "previous",
    "timestamps",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "limitBytes",
    "insecureSkipTLSVerifyBackend",
];

/// A kubelet's names of the streams, and those of the API. The only value is 1.
const STREAMS: [(&str, &str); 4] =
    [("input", "stdin"), ("output", "stdout"), ("error", "stderr"), ("tty", "tty")];

impl Route {
    /// The route of a request's path and query.
    pub(super) fn of(path: &str, query: &str) -> Self {
        let segments = path.strip_prefix('/').unwrap_or(path).split('/').map(decode);
        let Some(segments) = segments.collect::<Option<Vec<_>>>() else { return Self::Other };
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["healthz"] => Self::Healthz,
            ["pods"] => Self::Pods,
            ["stats", ..] => Self::Stats,
            ["metrics", "resource", node] if !node.is_empty() => Self::Usage(node.to_owned()),
            ["metrics", ..] => Self::Metrics,
            [operation, ref rest @ ..] if rest.iter().all(|segment| !segment.is_empty()) => {
                pod_route(operation, rest, query).map_or(Self::Other, Self::Pod)
            }
            _ => Self::Other,
        }
    }

    /// The methods with which it may be requested.
    pub(super) fn methods(&self) -> &'static [Method] {
        match self {
            Self::Pod(route) if route.operation.is_upgrade() => &[Method::GET, Method::POST],
            _ => &[Method::GET],
        }
    }

    /// Its name in logs and metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Pod(route) => route.operation.as_str(),
            Self::Healthz => "healthz",
            Self::Pods => "pods",
            Self::Stats => "stats",
            Self::Usage(_) => "usage",
            Self::Metrics => "metrics",
            Self::Other => "other",
        }
    }

    /// Whether the response upgrades the connection.
    pub(super) fn is_upgrade(&self) -> bool {
        matches!(self, Self::Pod(route) if route.operation.is_upgrade())
    }
}

impl Operation {
    /// The name in a kubelet's path.
    fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "containerLogs",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portForward",
        }
    }

    /// The subresource of pods.
    fn subresource(self) -> &'static str {
        match self {
            Self::Logs => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }

    pub(super) fn is_upgrade(self) -> bool {
        self != Self::Logs
    }
}

impl PodRoute {
    /// The path and query at the source's API server, for a remote pod.
    pub(super) fn source_uri(&self, namespace: &str, pod: &str) -> String {
        let (namespace, pod) = (query::escape(namespace.as_bytes()), query::escape(pod.as_bytes()));
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/{}", self.operation.subresource());
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }
}

/// `Display` is for logs.
impl fmt::Display for PodRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.pod)
    }
}

fn decode(segment: &str) -> Option<String> {
    Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
}

fn pod_route(operation: &str, rest: &[&str], query: &str) -> Option<PodRoute> {
    use Operation::{Attach, Exec, Logs, PortForward};
    let operation =
        [Logs, Exec, Attach, PortForward].into_iter().find(|known| known.as_str() == operation)?;
    let (namespace, pod, uid, container) = match (operation, rest) {
        (PortForward, &[namespace, pod]) => (namespace, pod, None, None),
        (PortForward, &[namespace, pod, uid]) => (namespace, pod, Some(uid), None),
        (Logs | Exec | Attach, &[namespace, pod, container]) => (namespace, pod, None, Some(container)),
        (Exec | Attach, &[namespace, pod, uid, container]) => (namespace, pod, Some(uid), Some(container)),
        _ => return None,
    };
    let pairs = source_query(operation, container, query::decode(query));
    let query = query::encode(&pairs);
    Some(PodRoute {
        operation,
        namespace: namespace.into(),
        pod: pod.into(),
        uid: uid.map(Into::into),
        query,
    })
}

/// The options that the API has. Leaves out others, as a kubelet ignores them.
fn source_query(
    operation: Operation,
    container: Option<&str>,
    pairs: Vec<(String, Vec<u8>)>,
) -> Vec<(&'static str, Vec<u8>)> {
    let container = container.map(|container| ("container", container.as_bytes().to_vec()));
    let first = |name: &str| pairs.iter().find(|(of, _)| of == name).map(|(_, value)| value.clone());
    let all = |name: &'static str| pairs.iter().filter(move |(of, _)| of == name);
    match operation {
        Operation::Logs => {
            let options = LOG_OPTIONS.iter().filter_map(|&name| Some((name, first(name)?)));
            // `All` is the default, and sources without the feature PodLogsQuerySplitStreams refuse the option.
            let stream = first("stream").filter(|stream| stream != b"All").map(|stream| ("stream", stream));
            container.into_iter().chain(options).chain(stream).collect()
        }
        Operation::Exec | Operation::Attach => {
            let is_set = |name: &str| first(name).is_some_and(|value| value == b"1");
            let streams = STREAMS.iter().filter(|(kubelet, _)| is_set(kubelet));
            let streams = streams.map(|&(_, api)| (api, b"true".to_vec()));
            let command = all("command").filter(|_| operation == Operation::Exec);
            let command = command.map(|(_, argument)| ("command", argument.clone()));
            container.into_iter().chain(streams).chain(command).collect()
        }
        // Kubelets call it `port`, with a list of numbers, the API `ports`.
        Operation::PortForward => {
            let ports =
                all("port").chain(all("ports")).flat_map(|(_, list)| list.split(|&byte| byte == b','));
            ports.map(|port| ("ports", port.to_vec())).collect()
        }
    }
}

#[cfg(test)]
mod tests;
