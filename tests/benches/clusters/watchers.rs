//! Who notices: a controller of ours in this process, and beside it plain watchers of kube's.

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

/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// What somebody saw, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// An object of this version, in this cluster.
    Object(Arc<str>, String),
    /// An object, or a cluster, is there no more.
    Gone(Arc<str>),
    /// Something is wrong.
    Trouble,
}

/// What one of them sees. Dropped, it watches no more.
pub struct Watcher {
    seen: UnboundedReceiver<(Sight, Instant)>,
    _tasks: JoinSet<()>,
}

impl Watcher {
    /// A controller of ours, of one config map in all clusters.
    pub fn ours(clusters: &Clusters) -> Self {
        let (saw, seen) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let controller = Controller::<ConfigMap>::new(clusters, watched()).namespace("default");
        let results = controller.run(reconcile, |_, never, _| match *never {}, Arc::new(saw.clone()));
        tasks.spawn(results.for_each(async |_| {}));
        tasks.spawn(leaves(clusters.watch(), saw));
        Self { seen, _tasks: tasks }
    }

    /// A watcher of kube's, of one config map.
    pub fn of_config_map(api: Api<ConfigMap>) -> Self {
        Self::of(api, watched())
    }

    /// A watcher of kube's.
    pub fn of<K>(api: Api<K>, config: watcher::Config) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let (saw, seen) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher(api, config).default_backoff().for_each(move |event| {
            let sight = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    Some(Sight::Object("".into(), object.resource_version().unwrap_or_default()))
                }
                Ok(Event::Delete(_)) => Some(Sight::Gone("".into())),
                Ok(Event::Init | Event::InitDone) => None,
                Err(_) => Some(Sight::Trouble),
            };
            note(&saw, sight);
            std::future::ready(())
        }));
        Self { seen, _tasks: tasks }
    }

    /// How long after `since` this was seen.
    pub async fn saw(&mut self, sight: &Sight, since: Instant) -> anyhow::Result<Duration> {
        let seen = async {
            loop {
                let (seen, at) = self.seen.recv().await.context("nobody watches")?;
                if seen == *sight {
                    return anyhow::Ok(at.duration_since(since));
                }
            }
        };
        timeout(PATIENCE, seen)
            .await
            .with_context(|| format!("{sight:?} was not seen within {PATIENCE:?}"))?
    }

    /// How long after `since` this was seen, if it was up to now.
    pub fn has_seen(&mut self, sight: &Sight, since: Instant) -> Option<Duration> {
        while let Ok((seen, at)) = self.seen.try_recv() {
            if seen == *sight {
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
    saw: Arc<UnboundedSender<(Sight, Instant)>>,
) -> Result<Action, Infallible> {
    let version = request.object.resource_version().unwrap_or_default();
    note(&saw, Some(Sight::Object(request.member.name().clone(), version)));
    Ok(Action::await_change())
}

async fn leaves(mut changes: impl Stream<Item = Change> + Unpin, saw: UnboundedSender<(Sight, Instant)>) {
    while let Some(change) = changes.next().await {
        if let Change::Left(member) = change {
            note(&saw, Some(Sight::Gone(member.name().clone())));
        }
    }
}

fn note(saw: &UnboundedSender<(Sight, Instant)>, sight: Option<Sight>) {
    if let Some(sight) = sight {
        drop(saw.send((sight, Instant::now())));
    }
}
