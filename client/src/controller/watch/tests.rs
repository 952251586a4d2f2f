use std::borrow::Cow;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::clusters::Clusters;
use crate::controller::fake_server::{FakeResponse, FakeServer};

struct Log(mpsc::UnboundedSender<String>);

impl EventHandler<ConfigMap> for Log {
    fn handle(&mut self, event: Event<ConfigMap>) -> Result<(), Panicked> {
        let text = event.to_string();
        let panics = text == "InitApply(panics)";
        drop(self.0.send(text));
        match panics {
            true => Err(Panicked { key: Key::new("c1", None, "panics"), message: "broken".into() }),
            false => Ok(()),
        }
    }
}

/// Panics when it is deserialized.
#[derive(Clone, Debug)]
struct Broken(ObjectMeta);

impl<'de> Deserialize<'de> for Broken {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("broken")
    }
}

impl Resource for Broken {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "ConfigMap".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        "".into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "configmaps".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0
    }
}

impl EventHandler<Broken> for () {
    fn handle(&mut self, _: Event<Broken>) -> Result<(), Panicked> {
        Ok(())
    }
}

struct Scene {
    server: FakeServer,
    health: watch::Sender<Health>,
    target: watch::Sender<Target>,
    log: mpsc::UnboundedReceiver<String>,
    errors: mpsc::Receiver<BackgroundError>,
    interruptions: Counter,
    _task: tokio::task::JoinSet<()>,
}

fn scene() -> Scene {
    let (log, log_received) = mpsc::unbounded_channel();
    let watch = |watch: Watch| {
        let api = |target: &Target| Api::all(target.member.client());
        watch.run(api, watcher::Config::default(), Log(log)).boxed()
    };
    scene_of(watch, log_received)
}

fn scene_of(
    start: impl FnOnce(Watch) -> BoxFuture<'static, ()>,
    log: mpsc::UnboundedReceiver<String>,
) -> Scene {
    let server = FakeServer::with(&["a"]);
    let health = watch::Sender::new(Health::Unknown);
    let (errors, errors_received) = mpsc::channel(8);
    let interruptions = Counter::default();
    let member = Clusters::fixed([("c1", server.client())]).get("c1").unwrap();
    let target = watch::Sender::new(Target::new(member, None));
    let watch = Watch {
        health: health.subscribe(),
        kind: "ConfigMap".into(),
        target: target.subscribe(),
        errors,
        events: Counter::default(),
        interruptions: interruptions.clone(),
    };
    let mut task = tokio::task::JoinSet::new();
    task.spawn(start(watch));
    Scene { server, health, target, log, errors: errors_received, interruptions, _task: task }
}

impl Scene {
    fn restart(&self) {
        self.target.send_modify(|target| target.update(target.member.clone(), None));
    }

    async fn next_is(&mut self, event: &str) {
        let next = timeout(Duration::from_secs(3600), self.log.recv()).await;
        assert_eq!(next.unwrap().unwrap(), event);
    }

    async fn lists(&mut self, names: &[&str]) {
        self.next_is("Init").await;
        for name in names {
            self.next_is(&format!("InitApply({name})")).await;
        }
        self.next_is("InitDone").await;
    }

    async fn is_quiet(&mut self) {
        assert!(timeout(Duration::from_secs(60), self.log.recv()).await.is_err());
    }
}

fn silence() -> Health {
    Health::Unavailable { problem: "it hangs".into(), is_unresponsive: true }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_hangs_is_dropped_and_lists_again_once_the_cluster_responds() {
    let mut scene = scene();
    scene.lists(&["a"]).await;
    scene.is_quiet().await;
    scene.health.send_replace(silence());
    scene.server.set(&["b"]);
    scene.is_quiet().await;
    scene.health.send_replace(Health::Ready);
    scene.lists(&["b"]).await;
    assert_eq!(scene.interruptions.get(), 1);
    assert!(scene.errors.try_recv().is_err());
}

/// One connection hangs, and others to the same cluster work.
#[tokio::test(start_paused = true)]
async fn a_list_that_hangs_is_retried_after_the_deadline() {
    let mut scene = scene();
    scene.lists(&["a"]).await;
    let list = json!({ "metadata": { "resourceVersion": "1" }, "items": [] });
    for response in [FakeResponse::Never, FakeResponse::Json(200, list)] {
        scene.server.respond_with(http::Method::GET, "/api/v1/configmaps", response);
    }
    scene.restart();
    assert_eq!(scene.log.recv().await.unwrap(), "Init");
    scene.lists(&[]).await;
}

#[tokio::test(start_paused = true)]
async fn another_cluster_under_the_name_is_listed() {
    let mut scene = scene();
    scene.lists(&["a"]).await;
    scene.server.set(&["b"]);
    scene.restart();
    scene.lists(&["b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_is_reported_and_retried_with_back_off() {
    let mut scene = scene();
    scene.lists(&["a"]).await;
    scene.health.send_replace(Health::Ready);
    scene.server.refuse(403);
    scene.restart();
    let start = tokio::time::Instant::now();
    for _ in 0..8 {
        assert!(matches!(scene.errors.recv().await, Some(BackgroundError::Watch { .. })));
    }
    assert!(start.elapsed() > Duration::from_secs(30), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_retried_at_once_when_the_cluster_becomes_ready() {
    let mut scene = scene();
    scene.lists(&["a"]).await;
    scene.health.send_replace(Health::Unauthorized);
    scene.server.refuse(401);
    scene.restart();
    for _ in 0..8 {
        scene.errors.recv().await.unwrap();
    }
    while scene.log.try_recv().is_ok() {}
    scene.server.set(&["b"]);
    let start = tokio::time::Instant::now();
    scene.health.send_replace(Health::Ready);
    scene.lists(&["b"]).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_object_on_which_the_handler_panics_is_listed_again_with_back_off() {
    let mut scene = scene();
    scene.lists(&["a"]).await;
    scene.server.set(&["panics", "b"]);
    scene.restart();
    let start = tokio::time::Instant::now();
    for _ in 0..6 {
        scene.lists(&["panics", "b"]).await;
        assert!(matches!(scene.errors.recv().await, Some(BackgroundError::HandlerPanicked { .. })));
    }
    assert!(start.elapsed() > Duration::from_secs(20), "{:?}", start.elapsed());
    scene.server.set(&["b"]);
    scene.lists(&["b"]).await;
    scene.is_quiet().await;
    assert!(scene.errors.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_panics_is_started_again_with_back_off() {
    let watch = |watch: Watch| {
        let api = |target: &Target| Api::<Broken>::all(target.member.client());
        watch.run(api, watcher::Config::default(), ()).boxed()
    };
    let mut scene = scene_of(watch, mpsc::unbounded_channel().1);
    let start = tokio::time::Instant::now();
    for _ in 0..6 {
        assert!(matches!(scene.errors.recv().await, Some(BackgroundError::WatchPanicked { .. })));
    }
    assert!(start.elapsed() > Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_end_of_an_outdated_list_is_not_handled() {
    let (log, log_received) = mpsc::unbounded_channel();
    let start = |watch: Watch| {
        let handle = async move {
            let mut handler = Log(log);
            for revision in [0, 1] {
                drop(watch.handle(Event::InitDone, revision, &mut handler));
            }
        };
        handle.boxed()
    };
    let mut scene = scene_of(start, log_received);
    scene.next_is("InitDone").await;
    assert_eq!(scene.log.recv().await, None);
}
