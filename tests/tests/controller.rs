//! Controllers for objects in several clusters, on real API servers.

mod collect;
mod finalizer;
mod owns;
mod reconcile;
mod runs;
mod unreachable;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use mcsa_client::clusters::Clusters;
use mcsa_client::controller::{Controller, Error, Key, Metrics, Request};
use mcsa_tests::{Cluster, eventually, shared_clusters};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

type Parents = Controller<ConfigMap>;

/// A namespace in each of the two clusters that the tests share.
struct Fixture {
    c1: &'static Cluster,
    c2: &'static Cluster,
    namespace: String,
}

impl Fixture {
    async fn new(namespace: &str) -> anyhow::Result<Self> {
        let (c1, c2) = shared_clusters().await;
        for cluster in [c1, c2] {
            let meta = ObjectMeta { name: Some(namespace.into()), ..ObjectMeta::default() };
            let object = Namespace { metadata: meta, ..Namespace::default() };
            Api::all(cluster.client()).create(&PostParams::default(), &object).await?;
        }
        Ok(Self { c1, c2, namespace: namespace.into() })
    }

    fn clusters(&self) -> Clusters {
        Clusters::fixed([("c1", self.c1.client()), ("c2", self.c2.client())])
    }

    fn parents(&self, clusters: &Clusters) -> Parents {
        let config = watcher::Config::default().labels("role=parent");
        Controller::new(clusters, config).namespace(&self.namespace)
    }

    /// A controller that reconciles parents in `c1`, which own Secrets.
    fn owners(&self, clusters: &Clusters) -> Parents {
        self.parents(clusters)
            .members(|member| &**member.name() == "c1")
            .owns::<Secret>(watcher::Config::default())
    }

    fn objects(&self, cluster: &Cluster) -> Objects {
        Objects::of(cluster.client(), &self.namespace)
    }

    fn key(&self, cluster: &str, name: &str) -> String {
        Key::new(cluster, Some(&self.namespace), name).to_string()
    }
}

/// The parents and children of a namespace.
struct Objects {
    parents: Api<ConfigMap>,
    children: Api<Secret>,
}

impl Objects {
    fn of(client: Client, namespace: &str) -> Self {
        Self {
            parents: Api::namespaced(client.clone(), namespace),
            children: Api::namespaced(client, namespace),
        }
    }

    async fn create(&self, name: &str) -> anyhow::Result<ConfigMap> {
        let labels = BTreeMap::from([("role".to_owned(), "parent".to_owned())]);
        let meta = ObjectMeta { name: Some(name.into()), labels: Some(labels), ..ObjectMeta::default() };
        let object = ConfigMap { metadata: meta, ..ConfigMap::default() };
        Ok(self.parents.create(&PostParams::default(), &object).await?)
    }

    async fn touch(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let patch = json!({"data": {"value": value}});
        self.parents.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    async fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.parents.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    async fn has_child(&self, name: &str) {
        eventually(format!("{name} exists"), async || self.children.get(name).await).await;
    }

    async fn has_no_child(&self, name: &str) {
        eventually(format!("{name} is gone"), async || {
            ensure!(self.children.get_opt(name).await?.is_none(), "still there");
            Ok(())
        })
        .await;
    }
}

/// The error of a failed reconciliation.
#[derive(Debug)]
struct Failure(String);

impl std::error::Error for Failure {}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self(error.to_string())
    }
}

/// The context of the controllers: records reconciliations.
#[derive(Default)]
struct Recorder {
    /// The keys of started reconciliations, in order.
    started: Mutex<Vec<String>>,
    /// If set, `reconcile` creates a child of each parent.
    copies: Option<Clusters>,
}

impl Recorder {
    fn copying(clusters: &Clusters) -> Arc<Self> {
        Arc::new(Self { copies: Some(clusters.clone()), ..Self::default() })
    }

    fn count(&self, key: &str) -> usize {
        self.started.lock().unwrap().iter().filter(|started| *started == key).count()
    }

    async fn started(&self, key: &str, times: usize) {
        eventually(format!("{key} is reconciled {times} times"), async || {
            ensure!(self.count(key) >= times, "{:?}", self.started.lock().unwrap());
            Ok(())
        })
        .await;
    }
}

/// Records the call. If the recorder has `copies`, creates a child in `c2` with the parent's name.
async fn reconcile(request: Request<ConfigMap>, recorder: Arc<Recorder>) -> Result<Action, Failure> {
    recorder.started.lock().unwrap().push(request.key().to_string());
    if let Some(clusters) = &recorder.copies {
        let member = clusters.get("c2").ok_or_else(|| Failure("there is no c2".into()))?;
        let namespace = request.object.namespace().unwrap_or_default();
        let secrets = Api::<Secret>::namespaced(member.client(), &namespace);
        let mut secret = Secret::default();
        secret.metadata.name = Some(request.object.name_any());
        request.owner().await?.apply_to(&mut secret);
        match secrets.create(&PostParams::default(), &secret).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            other => drop(other?),
        }
    }
    Ok(Action::await_change())
}

fn error_policy(request: &Request<ConfigMap>, _: &Failure, _: Arc<Recorder>) -> Action {
    request.backoff()
}

async fn wait_until_unresponsive(clusters: &Clusters, name: &str) {
    eventually(format!("{name} is unresponsive"), async || {
        let member = clusters.get(name).context("it has left")?;
        ensure!(member.health().is_unresponsive(), "{member:?}");
        Ok(())
    })
    .await;
}

fn received<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))
}

/// A running controller and its results. The controller ends when this is dropped.
struct Running {
    results: Arc<Mutex<Vec<String>>>,
    metrics: Metrics,
    tasks: JoinSet<()>,
}

impl Running {
    fn start(controller: Parents, recorder: &Arc<Recorder>) -> Self {
        let metrics = controller.metrics();
        Self::read(metrics, controller.run(reconcile, error_policy, recorder.clone()))
    }

    fn read<E: std::error::Error + Send + 'static>(
        metrics: Metrics,
        results: impl Stream<Item = Result<(Key, Action), Error<E>>> + Send + 'static,
    ) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let mut tasks = JoinSet::new();
        let log = lines.clone();
        tasks.spawn(async move {
            let mut results = std::pin::pin!(results);
            while let Some(result) = results.next().await {
                log.lock().unwrap().push(match result {
                    Ok((key, _)) => key.to_string(),
                    Err(error) => format!("error: {error}"),
                });
            }
        });
        Self { results: lines, metrics, tasks }
    }

    /// Waits for a result that contains all of `words`.
    async fn result(&self, words: &[&str]) -> String {
        eventually(format!("a result contains {words:?}"), async || {
            let results = self.results.lock().unwrap();
            let line = results.iter().find(|line| words.iter().all(|word| line.contains(word)));
            line.cloned().with_context(|| format!("{results:?}"))
        })
        .await
    }

    fn errors(&self) -> Vec<String> {
        let results = self.results.lock().unwrap();
        results.iter().filter(|line| line.starts_with("error: ")).cloned().collect()
    }

    /// The value of a metric. `line` is its name with labels.
    fn metric(&self, line: &str) -> anyhow::Result<f64> {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        let found = text.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
        Ok(found.with_context(|| format!("no {line} in {text}"))?.parse()?)
    }

    async fn metric_is(&self, line: &str, value: f64) {
        eventually(format!("{line} is {value}"), async || {
            let found = self.metric(line)?;
            ensure!(found == value, "{line} is {found}");
            Ok(())
        })
        .await;
    }

    async fn ends(mut self) -> anyhow::Result<()> {
        match tokio::time::timeout(Duration::from_secs(30), self.tasks.join_next()).await {
            Ok(Some(ended)) => Ok(ended?),
            _ => bail!("the controller does not end"),
        }
    }
}
