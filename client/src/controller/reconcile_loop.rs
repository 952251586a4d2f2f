//! The task that has objects reconciled.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use kube::Resource;
use kube::runtime::controller::Action;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;
use tracing::Instrument;

use super::action::requeue_after;
use super::backoff::Backoff;
use super::error::{Error, panic_message};
use super::key::Key;
use super::members::Fleet;
use super::metrics::{Ending, Reconciliations};
use super::queue::{Ended, Queue};
use super::reconciler::{Outcome, Work};
use super::request::{Kind, Request};
use super::results::Outbox;
use super::stores::Stores;
use super::tasks::Runs;
use crate::clusters::Clusters;

/// Objects that wait for a cluster that is away are not to wait for long when it is back.
const BLOCKED: Duration = Duration::from_secs(30);

/// What comes of one reconciliation.
pub(super) type Reconciled<E> = Result<(Key, Action), Error<E>>;

/// When it ends.
pub(super) struct Shutdown {
    pub(super) graceful: BoxFuture<'static, ()>,
    pub(super) forceful: BoxFuture<'static, ()>,
}

/// Has objects reconciled as they become due.
pub(super) struct Driver<K, E, F, P, C>
where
    K: Resource + 'static,
    K::DynamicType: Eq + Hash + Clone,
    E: std::error::Error + 'static,
{
    pub(super) kind: Arc<Kind<K::DynamicType>>,
    pub(super) work: Arc<Work<F, P, C>>,
    pub(super) backoff: Backoff,
    pub(super) queue: Arc<Queue<Key>>,
    pub(super) stores: Stores<K>,
    pub(super) fleet: Fleet<K>,
    pub(super) runs: Runs<Run, Outcome<E>>,
    pub(super) outbox: Outbox<Reconciled<E>>,
}

/// A reconciliation that runs.
pub(super) struct Run {
    key: Key,
    attempt: u32,
    began: Instant,
    counts: Reconciliations,
}

impl<K, E, F, Fut, P, C> Driver<K, E, F, P, C>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync + 'static,
    E: std::error::Error + Send + 'static,
    F: Fn(Request<K>, Arc<C>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    P: Fn(&Request<K>, &E, Arc<C>) -> Action + Send + Sync + 'static,
    C: Send + Sync + 'static,
{
    /// Returns when it was shut down, and has ended what it began.
    pub(super) async fn run(
        mut self,
        clusters: Clusters,
        mut leads: watch::Receiver<bool>,
        mut shutdown: Shutdown,
        stopping: impl FnOnce(),
    ) {
        let mut changes = clusters.watch().fuse();
        let mut stopping = Some(stopping);
        loop {
            let is_leading = *leads.borrow_and_update();
            if !is_leading {
                self.runs.abort_all();
            }
            if stopping.is_none() && self.runs.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut shutdown.forceful => return,
                () = &mut shutdown.graceful, if stopping.is_some() => {
                    if let Some(stopping) = stopping.take() {
                        stopping();
                    }
                }
                Ok(()) = leads.changed() => {}
                Some(change) = changes.next() => {
                    if let Some(cluster) = self.fleet.change(change) {
                        self.runs.abort_where(|run| run.key.cluster == cluster);
                    }
                }
                Some((run, result)) = self.runs.next() => self.finish(run, result),
                (key, attempt) = due(&self.outbox, &self.queue), if is_leading && stopping.is_some() => {
                    self.start(key, attempt);
                }
            }
        }
    }

    fn start(&mut self, key: Key, attempt: u32) {
        let (Some((member, counts)), Some(object)) = (self.fleet.home(&key.cluster), self.stores.get(&key))
        else {
            // It is gone, which is nothing to tell of.
            self.queue.end(&key, Ended::Well(None));
            return;
        };
        let request = Request {
            member: member.clone(),
            object,
            key: key.clone(),
            kind: self.kind.clone(),
            attempt,
            backoff: self.backoff,
        };
        let span = tracing::info_span!("reconciling object", object.key = %key);
        let run = Run { key, attempt, began: Instant::now(), counts: counts.clone() };
        self.runs.start(run, self.work.clone().attempt(request).instrument(span));
    }

    fn finish(&self, run: Run, result: Result<Outcome<E>, JoinError>) {
        let Run { key, attempt, began, counts } = run;
        let backoff = Ended::Failed(Some(self.backoff.after(attempt)));
        let (ending, ended, said) = match result {
            Ok(Outcome::Reconciled(action)) => {
                let ended = Ended::Well(requeue_after(&action));
                (Ending::Ok, ended, Some(Ok((key.clone(), action))))
            }
            Ok(Outcome::Failed(error, action)) => {
                let ended = Ended::Failed(requeue_after(&action));
                (Ending::Error, ended, Some(Err(Error::ReconcilerFailed(error, key.clone()))))
            }
            Ok(Outcome::Finalizing(next)) => (Ending::Ok, Ended::Well(next), None),
            Ok(Outcome::Blocked((cluster, problem))) => {
                let delay = self.backoff.after(attempt).min(BLOCKED);
                let error = Error::Finalizer { key: key.clone(), cluster, problem };
                (Ending::Error, Ended::Failed(Some(delay)), Some(Err(error)))
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => {
                    let message = panic_message(panic.as_ref());
                    let error = Error::Panicked { key: key.clone(), message };
                    (Ending::Panic, backoff, Some(Err(error)))
                }
                Err(_) => (Ending::Aborted, Ended::Dropped, None),
            },
        };
        counts.ended(ending, began.elapsed());
        self.queue.end(&key, ended);
        if let Some(said) = said {
            self.outbox.send(said);
        }
    }
}

/// Waits for what is next, but not before what came of the others was read.
async fn due<T>(outbox: &Outbox<T>, queue: &Queue<Key>) -> (Key, u32) {
    outbox.room().await;
    queue.next().await
}
