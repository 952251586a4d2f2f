//! What others ask of the sources: metrics, usage, and the remote pods of home pods.

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Bytes;
use kube::ResourceExt;
use mcsa_client::controller::Key;

use super::{Running, Sources};
use crate::count::count;
use crate::endpoint::Lookup;
use crate::metrics::{Snapshot, SourceSnapshot};
use crate::node::{self, Reachability};
use crate::record;
use crate::remote_pod::RemotePod;
use crate::source::HOME;

impl Running {
    fn snapshot(&self) -> SourceSnapshot {
        let is_reachable = match node::reachability(self.members.borrow().iter()) {
            Reachability::Reachable => Some(true),
            Reachability::Unknown => None,
            Reachability::Unreachable { .. } => Some(false),
        };
        let pods = self.source.home.objects();
        SourceSnapshot {
            metrics: self.source.metrics.clone(),
            is_reachable,
            is_maintained: self.node.borrow().is_maintained(),
            pods: count(pods.iter().map(|(_, pod)| &**pod), &self.source.states),
        }
    }
}

impl Sources {
    /// The metrics of all sources.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let running = self.lock();
        let sources = running.iter().map(|(name, running)| (name.clone(), running.snapshot())).collect();
        Snapshot { leads: self.fence.is_open(), sources }
    }

    /// The usage of a virtual node and its pods, in Prometheus' text format. `None`: there is no such node.
    pub(crate) fn usage(&self, node: &str) -> Option<BoxFuture<'static, Bytes>> {
        let source = self.lock().get(node)?.source.clone();
        // A task of its own completes the report for the next caller, if this one goes.
        let report = tokio::spawn(async move { source.usage.report(|| source.running_pods()).await });
        Some(report.map(Result::unwrap_or_default).boxed())
    }

    /// Finds the remote pod of a home pod, for a request of the API server.
    pub(crate) fn look_up(&self, namespace: &str, pod: &str) -> Lookup {
        let key = Key::new(HOME, Some(namespace), pod);
        let running = self.lock();
        let found =
            running.values().find_map(|running| Some((&running.source, running.source.home.get(&key)?)));
        let Some((source, home)) = found else { return Lookup::NotFound };
        let node = source.cluster.to_string();
        let Some(uid) = record::remote_uid(&home).map(str::to_owned) else {
            let reason = format!("pod {namespace}/{pod} does not exist in cluster {node} yet");
            return Lookup::NotStarted { node, reason };
        };
        match source.resolve(&home) {
            Ok(member) => Lookup::Found(RemotePod {
                namespace: member.default_namespace().to_owned(),
                name: pod.to_owned(),
                uid,
                member,
                node,
                home_uid: home.uid().unwrap_or_default(),
            }),
            Err(problem) => Lookup::NotStarted { node, reason: problem.to_string() },
        }
    }
}
