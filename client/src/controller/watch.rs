//! Watches one kind in one cluster while the cluster is a member.

use std::any::Any;
use std::fmt::Debug;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Resource};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::PANIC_BACKOFF;
use super::error::{BackgroundError, panic_message};
use super::key::Key;
use super::queue::Queue;
use super::target::Target;
use crate::clusters::Health;

/// Deadline for a page of a list: the API server's default `--request-timeout`
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>).
const LIST_DEADLINE: Duration = Duration::from_secs(60);

pub(super) trait EventHandler<K>: Send {
    /// Fails if the caller's code panics. Then the object is skipped, and the watch lists again later.
    fn handle(&mut self, event: Event<K>) -> Result<(), Panicked>;
}

/// The caller's code panicked on an object.
#[derive(Debug)]
pub(super) struct Panicked {
    pub(super) key: Key,
    pub(super) message: String,
}

/// A kind given to [`Controller::watches`](super::Controller::watches), and a function that runs its watch.
pub(super) struct MappedKind {
    pub(super) kind: Arc<str>,
    pub(super) watch: WatchMapped,
}

pub(super) type WatchMapped = Arc<dyn Fn(Watch, Arc<Queue<Key>>) -> BoxFuture<'static, ()> + Send + Sync>;

pub(super) struct Watch {
    pub(super) health: watch::Receiver<Health>,
    pub(super) kind: Arc<str>,
    /// Changes when the member's name points to another cluster, or another namespace is watched: list again.
    pub(super) target: watch::Receiver<Target>,
    pub(super) errors: mpsc::Sender<BackgroundError>,
    pub(super) events: Counter,
    pub(super) interruptions: Counter,
}

impl Watch {
    /// Never returns. Drops the watch when the cluster stops responding, since a watch that hangs ends only after
    /// minutes. Lists again once the cluster responds, and when the target changes.
    pub(super) async fn run<K>(
        self,
        api: impl Fn(&Target) -> Api<K>,
        config: watcher::Config,
        mut handler: impl EventHandler<K>,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut health = self.health.clone();
        let mut targets = self.target.clone();
        // Consecutive lists with a panic of the handler, and consecutive panics of the watch itself.
        let (mut handler_panics, mut watch_panics) = (0, 0);
        loop {
            if health.borrow_and_update().is_unresponsive() {
                let (cluster, kind) = (self.cluster(), &*self.kind);
                tracing::info!(%cluster, kind, "the cluster does not respond: watching again once it does");
            }
            if health.wait_for(|health| !health.is_unresponsive()).await.is_err() {
                return pending().await;
            }
            let target = targets.borrow_and_update().clone();
            let watched = (api(&target), target.revision, config.clone());
            tokio::select! {
                ended = AssertUnwindSafe(self.watch(watched, &mut handler, &mut handler_panics)).catch_unwind() => {
                    watch_panics = match ended {
                        Ok(()) => 0,
                        Err(panic) => {
                            self.report_panic(panic.as_ref());
                            sleep(PANIC_BACKOFF.after(watch_panics)).await;
                            watch_panics + 1
                        }
                    };
                }
                () = becomes_unresponsive(&mut health) => {}
                () = changed(&mut targets) => {}
            }
            self.interruptions.inc();
        }
    }

    fn cluster(&self) -> Arc<str> {
        self.target.borrow().member.name().clone()
    }

    fn report(&self, error: BackgroundError) {
        // Dropped if the channel is full: unread errors must not accumulate.
        drop(self.errors.try_send(error));
    }

    fn report_panic(&self, panic: &(dyn Any + Send)) {
        let (cluster, kind, message) = (self.cluster(), self.kind.clone(), panic_message(panic));
        self.report(BackgroundError::WatchPanicked { cluster, kind, message });
    }

    /// Returns when the target must be listed again. `panics` is the number of previous lists on which the handler
    /// panicked.
    async fn watch<K>(
        &self,
        (api, revision, config): (Api<K>, u64, watcher::Config),
        handler: &mut impl EventHandler<K>,
        panics: &mut u32,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = pin!(watcher(api, config));
        // Not `default_backoff()`: each retry starts with an `Init` event, which would reset it.
        let mut backoff = DefaultBackoff::default();
        let mut health = self.health.clone();
        let mut is_listed = false;
        // When to list again after a panic of the handler.
        let mut retry = None;
        loop {
            // A watch may be quiet for any time. A list may not.
            let deadline = if is_listed { retry } else { Some(Instant::now() + LIST_DEADLINE) };
            let next = match deadline {
                None => events.next().await,
                Some(deadline) => match timeout_at(deadline, events.next()).await {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            let Some(event) = next else { return };
            match event {
                Ok(event) => {
                    match event {
                        Event::Init => is_listed = false,
                        // The list may come from the previous cluster or namespace.
                        Event::InitDone if self.target.borrow().revision != revision => return,
                        Event::InitDone => {
                            is_listed = true;
                            backoff.reset();
                            if retry.is_none() {
                                *panics = 0;
                            }
                        }
                        Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {
                            backoff.reset();
                            self.events.inc();
                        }
                    }
                    if let Err(Panicked { key, message }) = handler.handle(event) {
                        self.report(BackgroundError::HandlerPanicked {
                            kind: self.kind.clone(),
                            key,
                            message,
                        });
                        if retry.is_none() {
                            retry = Some(Instant::now() + PANIC_BACKOFF.after(*panics));
                            *panics += 1;
                        }
                    }
                }
                Err(source) => {
                    self.interruptions.inc();
                    health.mark_unchanged();
                    let (cluster, kind) = (self.cluster(), self.kind.clone());
                    self.report(BackgroundError::Watch { cluster, kind, source });
                    let Some(pause) = backoff.next() else { return };
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = becomes_ready(&mut health) => {}
                    }
                }
            }
        }
    }
}

async fn becomes_unresponsive(health: &mut watch::Receiver<Health>) {
    if health.wait_for(Health::is_unresponsive).await.is_err() {
        pending().await
    }
}

/// Waits until the cluster changes to ready. A ready cluster that refuses the watch has not recovered.
async fn becomes_ready(health: &mut watch::Receiver<Health>) {
    loop {
        if health.changed().await.is_err() {
            return pending().await;
        }
        if health.borrow_and_update().is_ready() {
            return;
        }
    }
}

async fn changed(target: &mut watch::Receiver<Target>) {
    if target.changed().await.is_err() {
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;
    use kube::core::NamespaceResourceScope;
    use serde::{Deserialize, Deserializer};
    use serde_json::json;
    use tokio::time::timeout;

    use super::super::fake_server::{FakeResponse, FakeServer};
    use super::*;
    use crate::clusters::Clusters;

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
}
