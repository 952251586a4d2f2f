//! Records when our controller observes changes, and when kube's watchers do, for comparison.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::Action;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use mcsa_client::clusters::{Change, Clusters};
use mcsa_client::controller::{Controller, Request};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Deadline for an observation.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A change that a watcher observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// An object with this resource version, in this cluster.
    Object(Arc<str>, String),
    /// An object was deleted, or a cluster was removed.
    Removed(Arc<str>),
    /// The watch failed.
    Error,
}

/// The observations of a watcher. Dropping this stops the watcher.
pub struct Watcher {
    receiver: UnboundedReceiver<(Observation, Instant)>,
    _tasks: JoinSet<()>,
}

impl Watcher {
    /// Our controller of one ConfigMap in all clusters.
    pub fn ours(clusters: &Clusters) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let controller = Controller::<ConfigMap>::new(clusters, watched()).namespace("default");
        let results = controller.run(reconcile, |_, never, _| match *never {}, Arc::new(sender.clone()));
        tasks.spawn(results.for_each(async |_| {}));
        tasks.spawn(observe_removed_members(clusters.watch(), sender));
        Self { receiver, _tasks: tasks }
    }

    /// kube's watcher of one ConfigMap.
    pub fn of_config_map(api: Api<ConfigMap>) -> Self {
        Self::of(api, watched())
    }

    /// kube's watcher.
    pub fn of<K>(api: Api<K>, config: watcher::Config) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher(api, config).default_backoff().for_each(move |event| {
            let observation = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    Some(Observation::Object("".into(), object.resource_version().unwrap_or_default()))
                }
                Ok(Event::Delete(_)) => Some(Observation::Removed("".into())),
                Ok(Event::Init | Event::InitDone) => None,
                Err(_) => Some(Observation::Error),
            };
            record(&sender, observation);
            std::future::ready(())
        }));
        Self { receiver, _tasks: tasks }
    }

    /// Waits for an observation. Returns its time after `since`.
    pub async fn observed(&mut self, observation: &Observation, since: Instant) -> anyhow::Result<Duration> {
        let matching = async {
            loop {
                let (next, at) = self.receiver.recv().await.context("the watcher ended")?;
                if next == *observation {
                    return anyhow::Ok(at.duration_since(since));
                }
            }
        };
        timeout(TIMEOUT, matching)
            .await
            .with_context(|| format!("{observation:?} was not observed within {TIMEOUT:?}"))?
    }

    /// Returns the time from `since` to an observation, if it was made by now.
    pub fn has_observed(&mut self, observation: &Observation, since: Instant) -> Option<Duration> {
        while let Ok((next, at)) = self.receiver.try_recv() {
            if next == *observation {
                return Some(at.duration_since(since));
            }
        }
        None
    }
}

fn watched() -> watcher::Config {
    watcher::Config::default().fields("metadata.name=watched")
}

async fn reconcile(
    request: Request<ConfigMap>,
    sender: Arc<UnboundedSender<(Observation, Instant)>>,
) -> Result<Action, Infallible> {
    let version = request.object.resource_version().unwrap_or_default();
    record(&sender, Some(Observation::Object(request.member.name().clone(), version)));
    Ok(Action::await_change())
}

async fn observe_removed_members(
    mut changes: impl Stream<Item = Change> + Unpin,
    sender: UnboundedSender<(Observation, Instant)>,
) {
    while let Some(change) = changes.next().await {
        if let Change::Left(member) = change {
            record(&sender, Some(Observation::Removed(member.name().clone())));
        }
    }
}

fn record(sender: &UnboundedSender<(Observation, Instant)>, observation: Option<Observation>) {
    if let Some(observation) = observation {
        drop(sender.send((observation, Instant::now())));
    }
}
