//! Controllers of clusters that join, leave and hang.

mod panics;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::runtime::controller::Action;
use kube::runtime::watcher;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::fake_server::{FakeResponse, FakeServer, child_of, identity_is, object, status};
use super::*;
use crate::clusters::Clusters;

/// Records reconciliations. Those of `slow` run until they are dropped.
struct Scene {
    started: mpsc::UnboundedSender<String>,
    running: Mutex<usize>,
    dropped: Notify,
}

struct RunningGuard(Arc<Scene>);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap() -= 1;
        self.0.dropped.notify_one();
    }
}

async fn reconcile(request: Request<ConfigMap>, scene: Arc<Scene>) -> kube::Result<Action> {
    *scene.running.lock().unwrap() += 1;
    let _guard = RunningGuard(scene.clone());
    scene.started.send(request.key().to_string()).unwrap();
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
    started: mpsc::UnboundedReceiver<String>,
    stores: Stores<ConfigMap>,
    metrics: Metrics,
    errors: mpsc::UnboundedReceiver<String>,
    _task: JoinSet<()>,
}

impl Running {
    fn start(clusters: &Clusters) -> Self {
        Self::of(Controller::new(clusters, watcher::Config::default()))
    }

    fn of(controller: Controller<ConfigMap>) -> Self {
        let (started, started_received) = mpsc::unbounded_channel();
        let scene = Arc::new(Scene { started, running: Mutex::new(0), dropped: Notify::new() });
        let (stores, metrics) = (controller.stores(), controller.metrics());
        let mut task = JoinSet::new();
        let (errors, errors_received) = mpsc::unbounded_channel();
        let results = controller.run(reconcile, error_policy, scene.clone());
        task.spawn(results.for_each(move |result| {
            drop(result.map_err(|error| errors.send(error.to_string())));
            async {}
        }));
        Self { scene, started: started_received, stores, metrics, errors: errors_received, _task: task }
    }

    async fn started(&mut self, key: &str) {
        let started = timeout(Duration::from_secs(3600), self.started.recv()).await;
        assert_eq!(started.unwrap().unwrap(), key);
    }

    /// Waits for an error with this text, and skips others.
    async fn error(&mut self, text: &str) {
        loop {
            let error = timeout(Duration::from_secs(3600), self.errors.recv()).await;
            if error.unwrap().unwrap().contains(text) {
                return;
            }
        }
    }

    fn text(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.metrics.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        text
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_hangs_does_not_delay_others() {
    let (good, bad) = (FakeServer::with(&["a"]), FakeServer::with(&[]));
    bad.hang();
    let mut running = Running::start(&Clusters::fixed([("bad", bad.client()), ("good", good.client())]));
    running.started("good/default/a").await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_joins_and_leaves() {
    let clusters = Clusters::fixed([("c1", FakeServer::with(&["a"]).client())]);
    let mut running = Running::start(&clusters);
    running.started("c1/default/a").await;
    clusters.join("c2", FakeServer::with(&["slow"]).client());
    running.started("c2/default/slow").await;
    let key = Key::new("c2", Some("default"), "slow");
    assert!(running.stores.get(&key).is_some());
    assert!(running.text().contains(r#"cluster="c2""#));

    clusters.leave("c2");
    while *running.scene.running.lock().unwrap() > 0 {
        timeout(Duration::from_secs(3600), running.scene.dropped.notified()).await.unwrap();
    }
    assert!(running.stores.get(&key).is_none() && running.stores.cluster("c2").is_none());

    clusters.join("c2", FakeServer::with(&["b"]).client());
    running.started("c2/default/b").await;
    clusters.leave("c2");
    clusters.join("c3", FakeServer::with(&["c"]).client());
    running.started("c3/default/c").await;
    let text = running.text();
    assert!(!text.contains(r#"cluster="c2""#), "{text}");
    assert!(running.started.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_rejoins_under_its_name_is_listed() {
    let clusters = Clusters::fixed([("c1", FakeServer::with(&["slow"]).client())]);
    let mut running = Running::start(&clusters);
    running.started("c1/default/slow").await;
    clusters.leave("c1");
    clusters.join("c1", FakeServer::with(&["a"]).client());
    running.started("c1/default/a").await;
    assert_eq!(running.stores.cluster("c1").unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_member_is_watched_in_its_own_namespace() {
    let (home, remote) = (FakeServer::with(&["a"]), FakeServer::with(&["b"]));
    let clusters = Clusters::fixed([("home", home.client()), ("remote", remote.client_in("its-own"))]);
    let controller = Controller::<ConfigMap>::new(&clusters, watcher::Config::default())
        .namespace_of(|member| (&**member.name() != "home").then(|| member.default_namespace().to_owned()))
        .owns::<Secret>(watcher::Config::default())
        .watches::<Pod, _>(watcher::Config::default(), |_, _| None)
        .watches::<Namespace, _>(watcher::Config::default(), |_, _| None);
    let _running = Running::of(controller);
    for kind in ["configmaps", "secrets", "pods"] {
        home.requested(&format!("GET /api/v1/{kind}")).await;
        remote.requested(&format!("GET /api/v1/namespaces/its-own/{kind}")).await;
    }
    remote.requested("GET /api/v1/namespaces").await;
    let namespaced = ["configmaps", "secrets", "pods"].map(|kind| format!("GET /api/v1/{kind} "));
    let requests = remote.requests();
    assert!(
        !requests.iter().any(|request| namespaced.iter().any(|all| request.starts_with(all))),
        "{requests:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_controller_is_confined_to_default_namespaces() {
    let server = FakeServer::with(&["a"]);
    let clusters = Clusters::fixed([("c1", server.client_in("its-own"))]);
    let controller = Controller::<ConfigMap>::new(&clusters, watcher::Config::default());
    let _running = Running::of(controller.default_namespaces());
    server.requested("GET /api/v1/namespaces/its-own/configmaps").await;
}

const PARENT: &str = "/api/v1/namespaces/default/configmaps/parent";
const CHILD: &str = "/api/v1/namespaces/default/secrets/child";

/// The owner's cluster and the child's. The child was recorded while the owner's cluster was named `c1`.
fn family(parent: &str, exists: bool) -> (FakeServer, FakeServer) {
    let (owners, children) = (FakeServer::with(&[]), FakeServer::with(&[]));
    owners.respond_with(Method::GET, "/api/v1/namespaces/kube-system", identity_is("identity"));
    let lookup = match exists {
        true => FakeResponse::Json(200, object("parent", parent)),
        false => FakeResponse::Json(404, status(404, "NotFound", "configmaps", "parent")),
    };
    owners.respond_with(Method::GET, PARENT, lookup);
    let list = |items: &[Value]| {
        FakeResponse::Json(200, json!({"metadata": {"resourceVersion": "1"}, "items": items}))
    };
    owners.respond_with(Method::GET, "/api/v1/secrets", list(&[]));
    children.respond_with(Method::GET, "/api/v1/namespaces/kube-system", identity_is("another"));
    children.respond_with(Method::GET, "/api/v1/secrets", list(&[child_of(parent)]));
    children.respond_with(Method::GET, CHILD, FakeResponse::Json(200, child_of(parent)));
    children.respond_with(Method::DELETE, CHILD, FakeResponse::Json(200, object("child", "child-uid")));
    (owners, children)
}

fn owning(clusters: &Clusters) -> Controller<ConfigMap> {
    Controller::new(clusters, watcher::Config::default()).owns::<Secret>(watcher::Config::default())
}

#[rstest]
#[case::renamed("c2")]
#[case::another_cluster_has_its_name("c1")]
#[tokio::test(start_paused = true)]
async fn an_orphan_is_deleted_although_its_owners_cluster_was_renamed(#[case] other: &str) {
    let (owners, children) = family("u", false);
    let clusters = Clusters::fixed([("prod", owners.client()), (other, children.client())]);
    let _running = Running::of(owning(&clusters));
    children.requested(&format!("DELETE {CHILD}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_is_kept_while_its_owner_exists_in_a_renamed_cluster() {
    let (owners, children) = family("parent", false);
    owners.set(&["parent"]);
    let clusters = Clusters::fixed([("prod", owners.client()), ("c2", children.client())]);
    let mut running = Running::of(owning(&clusters));
    running.started("prod/default/parent").await;
    // When the child is listed again, its owner is reconciled.
    clusters.leave("c2");
    clusters.join("c2", children.client());
    running.started("prod/default/parent").await;
    assert!(!children.requests().iter().any(|request| request.starts_with("DELETE")));
    assert!(
        !owners.requests().iter().any(|request| request.contains("configmaps/parent")),
        "it was looked up"
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_is_no_longer_looked_up_once_its_owner_is_in_the_store() {
    let (owners, children) = family("parent", true);
    let clusters = Clusters::fixed([("c1", owners.client()), ("c2", children.client())]);
    let mut running = Running::of(owning(&clusters));
    let lookup = format!("GET {PARENT}");
    owners.requested(&lookup).await;
    // Lists again after the outage.
    owners.hang();
    let mut health = clusters.get("c1").unwrap().watch_health();
    health.wait_for(|health| health.is_unresponsive()).await.unwrap();
    owners.set(&["parent"]);
    running.started("c1/default/parent").await;
    let count = || owners.requests().iter().filter(|request| request.starts_with(&lookup)).count();
    let before = count();
    assert!(timeout(Duration::from_secs(3600), running.started.recv()).await.is_err());
    assert_eq!(count(), before);
}

#[tokio::test(start_paused = true)]
async fn other_kinds_are_watched_only_in_selected_members() {
    let (c1, c2) = (FakeServer::with(&["a"]), FakeServer::with(&["b"]));
    let clusters = Clusters::fixed([("c1", c1.client()), ("c2", c2.client())]);
    let config = || WatchConfig::from(watcher::Config::default()).members(|member| &**member.name() == "c2");
    let controller = Controller::new(&clusters, watcher::Config::default())
        .owns::<Secret>(config())
        .watches::<Pod, _>(config(), |_, _| None);
    let mut running = Running::of(controller);
    c2.requested("GET /api/v1/secrets").await;
    c2.requested("GET /api/v1/pods").await;
    running.started("c1/default/a").await;
    running.started("c2/default/b").await;
    let requests = c1.requests();
    assert!(
        !requests.iter().any(|request| request.contains("secrets") || request.contains("pods")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn stores_can_be_iterated() {
    let (c1, c2) = (FakeServer::with(&["a", "b"]), FakeServer::with(&["c"]));
    let clusters = Clusters::fixed([("c1", c1.client()), ("c2", c2.client())]);
    let mut running = Running::start(&clusters);
    for _ in 0..3 {
        running.started.recv().await.unwrap();
    }
    let mut keys: Vec<_> = running.stores.objects().into_iter().map(|(key, _)| key.to_string()).collect();
    keys.sort();
    assert_eq!(keys, ["c1/default/a", "c1/default/b", "c2/default/c"]);
    let names: Vec<_> = running.stores.clusters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["c1".into(), "c2".into()]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_is_reconciled_when_the_store_has_its_child() {
    let (c1, c2) = (FakeServer::with(&[]), FakeServer::with(&[]));
    let list = |item: Value| {
        let item = json!({"metadata": item["metadata"], "data": item["data"]});
        FakeResponse::Json(200, json!({"metadata": {"resourceVersion": "1"}, "items": [item]}))
    };
    c1.respond_with(Method::GET, "/api/v1/configmaps", list(object("parent", "u")));
    c1.respond_with(Method::GET, "/api/v1/namespaces/kube-system", identity_is("identity"));
    let mut child = child_of("u");
    child["data"] = json!({"key": "dmFsdWU="});
    c2.respond_with(Method::GET, "/api/v1/secrets", list(child));
    let clusters = Clusters::fixed([("c1", c1.client()), ("c2", c2.client())]);
    let stores = Stores::<Secret>::empty();
    let config = WatchConfig::from(watcher::Config::default()).members(|member| &**member.name() == "c2");
    let controller = Controller::new(&clusters, watcher::Config::default())
        .members(|member| &**member.name() == "c1")
        .owns_stored(config, &stores, |secret: &mut Secret| secret.data = None, |_, _| {});
    let mut running = Running::of(controller);
    let key = Key::new("c2", Some("default"), "child");
    while stores.get(&key).is_none() {
        running.started("c1/default/parent").await;
    }
    let secret = stores.get(&key).unwrap();
    assert!(stores.is_listed("c2") && secret.data.is_none());
    clusters.leave("c2");
    timeout(Duration::from_secs(3600), async {
        while stores.cluster("c2").is_some() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await
    .unwrap();
    assert!(stores.get(&key).is_none());
}
