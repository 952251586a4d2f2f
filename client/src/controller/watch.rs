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
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::Backoff;
use super::error::{BackgroundError, panic_message};
use super::key::Key;
use super::queue::Queue;
use super::target::Target;
use super::watch_config::MemberFilter;
use crate::clusters::Health;
use crate::clusters::watch_backoff::WatchBackoff;

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
    pub(super) members: MemberFilter,
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
                            sleep(Backoff::DEFAULT.after(watch_panics)).await;
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

    /// Returns `None` at the end of a list of the previous cluster or namespace.
    fn handle<K>(
        &self,
        event: Event<K>,
        revision: u64,
        handler: &mut impl EventHandler<K>,
    ) -> Option<Result<(), Panicked>> {
        if !matches!(event, Event::InitDone) {
            return Some(handler.handle(event));
        }
        // Borrowed until the list is handled: the target cannot change meanwhile.
        let target = self.target.borrow();
        (target.revision == revision).then(|| handler.handle(event))
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
        let mut backoff = WatchBackoff::default();
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
            let pause = backoff.pause_after(&event);
            match event {
                Ok(event) => {
                    match event {
                        Event::Init => is_listed = false,
                        Event::InitDone => {
                            is_listed = true;
                            if retry.is_none() {
                                *panics = 0;
                            }
                        }
                        Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => drop(self.events.inc()),
                    }
                    let Some(handled) = self.handle(event, revision, handler) else { return };
                    if let Err(Panicked { key, message }) = handled {
                        self.report(BackgroundError::HandlerPanicked {
                            kind: self.kind.clone(),
                            key,
                            message,
                        });
                        if retry.is_none() {
                            retry = Some(Instant::now() + Backoff::DEFAULT.after(*panics));
                            *panics += 1;
                        }
                    }
                }
                Err(source) => {
                    self.interruptions.inc();
                    health.mark_unchanged();
                    let (cluster, kind) = (self.cluster(), self.kind.clone());
                    self.report(BackgroundError::Watch { cluster, kind, source });
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
mod tests;
