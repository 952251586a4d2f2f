//! One watch of one kind in one cluster, for as long as the cluster is in the set.

use std::fmt::Debug;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Resource};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::error::Trouble;
use crate::clusters::Health;
use crate::clusters::Member;

/// How long a page of a list may take: as long as an API server itself gives it
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>, `--request-timeout`).
const LIST: Duration = Duration::from_secs(60);

/// What is done with events.
pub(super) trait Sink<K>: Send {
    fn event(&mut self, event: Event<K>);
}

/// One watch of one kind in one cluster.
pub(super) struct Watch {
    pub(super) member: Member,
    pub(super) health: watch::Receiver<Health>,
    pub(super) kind: Arc<str>,
    /// Changes when the cluster leads elsewhere.
    pub(super) anew: watch::Receiver<u64>,
    pub(super) troubles: mpsc::Sender<Trouble>,
    pub(super) events: Counter,
    pub(super) interruptions: Counter,
}

impl Watch {
    /// Never returns. A watch that hangs does not end by itself for minutes: once the cluster is known not to
    /// answer, the watch is dropped, and when it answers again, all is listed anew.
    pub(super) async fn run<K>(mut self, api: Api<K>, config: watcher::Config, mut sink: impl Sink<K>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut health = self.health.clone();
        let mut anew = self.anew.clone();
        loop {
            if health.borrow_and_update().is_silent() {
                let (cluster, kind) = (self.member.name(), &*self.kind);
                tracing::info!(%cluster, kind, "the cluster is silent: it is watched again when it answers");
            }
            if health.wait_for(|health| !health.is_silent()).await.is_err() {
                return pending().await;
            }
            tokio::select! {
                () = self.follow(api.clone(), config.clone(), &mut sink) => {}
                () = lost(&mut health) => {}
                () = changed(&mut anew) => {}
            }
            self.interruptions.inc();
        }
    }

    async fn follow<K>(&mut self, api: Api<K>, config: watcher::Config, sink: &mut impl Sink<K>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = pin!(watcher(api, config));
        // Not `default_backoff()`: each try begins with an event that would reset it.
        let mut backoff = DefaultBackoff::default();
        let mut health = self.health.clone();
        let begun = *self.anew.borrow();
        let mut is_listed = false;
        loop {
            // A watch may have nothing to tell; a list has, until it ends.
            let next = match is_listed {
                true => events.next().await,
                false => match timeout(LIST, events.next()).await {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            let Some(event) = next else { return };
            match event {
                Ok(event) => {
                    match event {
                        Event::Init => is_listed = false,
                        // What is listed may be of where the cluster led before.
                        Event::InitDone if *self.anew.borrow() != begun => return,
                        Event::InitDone => {
                            is_listed = true;
                            backoff.reset();
                        }
                        Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {
                            backoff.reset();
                            self.events.inc();
                        }
                    }
                    sink.event(event);
                }
                Err(source) => {
                    self.interruptions.inc();
                    health.mark_unchanged();
                    let (cluster, kind) = (self.member.name().clone(), self.kind.clone());
                    let trouble = Trouble::Watch { cluster, kind, source };
                    // Whoever reads no errors is not to find them all in memory.
                    drop(self.troubles.try_send(trouble));
                    let Some(pause) = backoff.next() else { return };
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = recovered(&mut health) => {}
                    }
                }
            }
        }
    }
}

async fn lost(health: &mut watch::Receiver<Health>) {
    if health.wait_for(Health::is_silent).await.is_err() {
        pending().await
    }
}

/// It becomes ready, which it was not: a watch that is refused by a cluster that is well is no news.
async fn recovered(health: &mut watch::Receiver<Health>) {
    loop {
        if health.changed().await.is_err() {
            return pending().await;
        }
        if health.borrow_and_update().is_ready() {
            return;
        }
    }
}

async fn changed(anew: &mut watch::Receiver<u64>) {
    if anew.changed().await.is_err() {
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;
    use tokio::time::timeout;

    use super::super::fake_server::{Answer, Fake};
    use super::*;
    use crate::clusters::Clusters;

    struct Log(mpsc::UnboundedSender<String>);

    impl Sink<ConfigMap> for Log {
        fn event(&mut self, event: Event<ConfigMap>) {
            drop(self.0.send(event.to_string()));
        }
    }

    struct Scene {
        fake: Fake,
        health: watch::Sender<Health>,
        anew: watch::Sender<u64>,
        log: mpsc::UnboundedReceiver<String>,
        troubles: mpsc::Receiver<Trouble>,
        interruptions: Counter,
        _task: tokio::task::JoinSet<()>,
    }

    fn scene() -> Scene {
        let (fake, log) = (Fake::with(&["a"]), mpsc::unbounded_channel());
        let (health, anew) = (watch::Sender::new(Health::Unknown), watch::Sender::new(0));
        let (troubles, troubles_read) = mpsc::channel(8);
        let interruptions = Counter::default();
        let member = Clusters::fixed([("c1", fake.client())]).get("c1").unwrap();
        let api = Api::all(member.client());
        let watch = Watch {
            member,
            health: health.subscribe(),
            kind: "ConfigMap".into(),
            anew: anew.subscribe(),
            troubles,
            events: Counter::default(),
            interruptions: interruptions.clone(),
        };
        let mut task = tokio::task::JoinSet::new();
        task.spawn(watch.run(api, watcher::Config::default(), Log(log.0)));
        Scene { fake, health, anew, log: log.1, troubles: troubles_read, interruptions, _task: task }
    }

    impl Scene {
        async fn says(&mut self, event: &str) {
            let said = timeout(Duration::from_secs(3600), self.log.recv()).await;
            assert_eq!(said.unwrap().unwrap(), event);
        }

        async fn lists(&mut self, names: &[&str]) {
            self.says("Init").await;
            for name in names {
                self.says(&format!("InitApply({name})")).await;
            }
            self.says("InitDone").await;
        }

        async fn says_nothing(&mut self) {
            assert!(timeout(Duration::from_secs(60), self.log.recv()).await.is_err());
        }
    }

    fn away() -> Health {
        Health::Away { problem: "it hangs".into(), is_silent: true }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_hangs_is_dropped_and_all_is_listed_when_the_cluster_is_back() {
        let mut scene = scene();
        scene.lists(&["a"]).await;
        scene.says_nothing().await;
        scene.health.send_replace(away());
        scene.fake.set(&["b"]);
        scene.says_nothing().await;
        scene.health.send_replace(Health::Ready);
        scene.lists(&["b"]).await;
        assert_eq!(scene.interruptions.get(), 1);
        assert!(scene.troubles.try_recv().is_err());
    }

    /// One connection was forgotten on the way; others of the same cluster answer.
    #[tokio::test(start_paused = true)]
    async fn a_list_whose_answer_never_comes_is_given_up() {
        let mut scene = scene();
        scene.lists(&["a"]).await;
        let list = json!({ "metadata": { "resourceVersion": "1" }, "items": [] });
        for answer in [Answer::Never, Answer::Json(200, list)] {
            scene.fake.answer(http::Method::GET, "/api/v1/configmaps", answer);
        }
        scene.anew.send_replace(1);
        assert_eq!(scene.log.recv().await.unwrap(), "Init");
        scene.lists(&[]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_leads_elsewhere_is_listed_anew() {
        let mut scene = scene();
        scene.lists(&["a"]).await;
        scene.fake.set(&["b"]);
        scene.anew.send_replace(1);
        scene.lists(&["b"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_of_and_tried_again_ever_more_rarely() {
        let mut scene = scene();
        scene.lists(&["a"]).await;
        scene.health.send_replace(Health::Ready);
        scene.fake.refuse(403);
        scene.anew.send_replace(1);
        let start = tokio::time::Instant::now();
        for _ in 0..8 {
            assert!(matches!(scene.troubles.recv().await, Some(Trouble::Watch { .. })));
        }
        assert!(start.elapsed() > Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_at_once_when_a_cluster_becomes_ready() {
        let mut scene = scene();
        scene.lists(&["a"]).await;
        scene.health.send_replace(Health::Unauthorized);
        scene.fake.refuse(401);
        scene.anew.send_replace(1);
        for _ in 0..8 {
            scene.troubles.recv().await.unwrap();
        }
        while scene.log.try_recv().is_ok() {}
        scene.fake.set(&["b"]);
        let start = tokio::time::Instant::now();
        scene.health.send_replace(Health::Ready);
        scene.lists(&["b"]).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
