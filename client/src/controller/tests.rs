//! Controllers of clusters that join, leave and hang.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::controller::Action;
use kube::runtime::watcher;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fake_server::Fake;
use super::*;
use crate::clusters::Clusters;

/// Keys of reconciliations that began, and how many run; those of `slow` run until they are dropped.
struct Scene {
    began: mpsc::UnboundedSender<String>,
    running: Mutex<usize>,
    dropped: Notify,
}

struct Inside(Arc<Scene>);

impl Drop for Inside {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap() -= 1;
        self.0.dropped.notify_one();
    }
}

async fn reconcile(request: Request<ConfigMap>, scene: Arc<Scene>) -> kube::Result<Action> {
    *scene.running.lock().unwrap() += 1;
    let _inside = Inside(scene.clone());
    scene.began.send(request.key().to_string()).unwrap();
    if &*request.key().name == "slow" {
        std::future::pending::<()>().await;
    }
    Ok(Action::await_change())
}

fn error_policy(request: &Request<ConfigMap>, _: &kube::Error, _: Arc<Scene>) -> Action {
    request.backoff()
}

struct Running {
    scene: Arc<Scene>,
    began: mpsc::UnboundedReceiver<String>,
    stores: Stores<ConfigMap>,
    metrics: Metrics,
    _task: JoinSet<()>,
}

impl Running {
    fn start(clusters: &Clusters) -> Self {
        let (began, began_read) = mpsc::unbounded_channel();
        let scene = Arc::new(Scene { began, running: Mutex::new(0), dropped: Notify::new() });
        let controller = Controller::<ConfigMap>::new(clusters, watcher::Config::default());
        let (stores, metrics) = (controller.stores(), controller.metrics());
        let mut task = JoinSet::new();
        task.spawn(controller.run(reconcile, error_policy, scene.clone()).for_each(|_| async {}));
        Self { scene, began: began_read, stores, metrics, _task: task }
    }

    async fn began(&mut self, key: &str) {
        let began = timeout(Duration::from_secs(3600), self.began.recv()).await;
        assert_eq!(began.unwrap().unwrap(), key);
    }

    fn text(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.metrics.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        text
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_hangs_holds_up_no_other() {
    let (good, bad) = (Fake::with(&["a"]), Fake::with(&[]));
    bad.hang();
    let mut running = Running::start(&Clusters::fixed([("bad", bad.client()), ("good", good.client())]));
    running.began("good/default/a").await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_joins_and_leaves() {
    let clusters = Clusters::fixed([("c1", Fake::with(&["a"]).client())]);
    let mut running = Running::start(&clusters);
    running.began("c1/default/a").await;
    clusters.join("c2", Fake::with(&["slow"]).client());
    running.began("c2/default/slow").await;
    let key = Key::new("c2", Some("default"), "slow");
    assert!(running.stores.get(&key).is_some());
    assert!(running.text().contains(r#"cluster="c2""#));

    clusters.leave("c2");
    while *running.scene.running.lock().unwrap() > 0 {
        timeout(Duration::from_secs(3600), running.scene.dropped.notified()).await.unwrap();
    }
    assert!(running.stores.get(&key).is_none() && running.stores.cluster("c2").is_none());

    clusters.join("c2", Fake::with(&["b"]).client());
    running.began("c2/default/b").await;
    clusters.leave("c2");
    clusters.join("c3", Fake::with(&["c"]).client());
    running.began("c3/default/c").await;
    let text = running.text();
    assert!(!text.contains(r#"cluster="c2""#), "{text}");
    assert!(running.began.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn another_member_takes_the_place_of_one_of_its_name() {
    let clusters = Clusters::fixed([("c1", Fake::with(&["slow"]).client())]);
    let mut running = Running::start(&clusters);
    running.began("c1/default/slow").await;
    clusters.leave("c1");
    clusters.join("c1", Fake::with(&["a"]).client());
    running.began("c1/default/a").await;
    assert_eq!(running.stores.cluster("c1").unwrap().len(), 1);
}
