//! Starts a controller.

use std::fmt::Debug;
use std::future::pending;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures::future::{FutureExt, select_all};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use kube::Resource;
use kube::runtime::controller::Action;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::builder::Controller;
use super::collect::Collector;
use super::error::{BackgroundError, Error, panic_message};
use super::finalizer::Finalizer;
use super::key::Key;
use super::members::{Members, Plan};
use super::reconcile_loop::{ReconcileLoop, Reconciled, Shutdown};
use super::reconciler::Reconciler;
use super::request::Request;
use super::results::{Receiver, channel};
use super::scope::Scoped;
use super::tasks::Tasks;

/// How many [`BackgroundError`]s wait to be read. Further ones are dropped.
const ERRORS: usize = 256;

impl<K> Controller<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync + 'static,
    K::Scope: Scoped,
{
    /// Runs the controller. The stream yields the result of each reconciliation, and other errors.
    ///
    /// The controller starts when the stream is first polled, and ends when it is dropped. Each reconciliation runs
    /// in its own task, so that a panic or a long computation does not affect others. If the stream is not polled, no
    /// new reconciliation starts once 1024 results are waiting.
    pub fn run<F, Fut, P, E, C>(
        self,
        reconcile: F,
        error_policy: P,
        context: Arc<C>,
    ) -> impl Stream<Item = Result<(Key, Action), Error<E>>> + Send + 'static
    where
        F: Fn(Request<K>, Arc<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, E>> + Send + 'static,
        P: Fn(&Request<K>, &E, Arc<C>) -> Action + Send + Sync + 'static,
        E: std::error::Error + Send + 'static,
        C: Send + Sync + 'static,
    {
        async move { stream::unfold(self.start(reconcile, error_policy, context), Running::next) }
            .flatten_stream()
    }

    fn start<F, Fut, P, E, C>(self, reconcile: F, error_policy: P, context: Arc<C>) -> Running<E>
    where
        F: Fn(Request<K>, Arc<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, E>> + Send + 'static,
        P: Fn(&Request<K>, &E, Arc<C>) -> Action + Send + Sync + 'static,
        E: std::error::Error + Send + 'static,
        C: Send + Sync + 'static,
    {
        let (errors, errors_received) = mpsc::channel(ERRORS);
        let (results, results_received) = channel();
        let kinds: Vec<_> = self.owned.iter().map(|owned| owned.kind.clone()).collect();
        let resource = self.kind.resource.clone();

        let stores = self.stores.clone();
        let collector = (!kinds.is_empty()).then(|| {
            Arc::new(Collector::new(
                self.clusters.clone(),
                resource.clone(),
                kinds.clone(),
                Box::new(move |key, uid| stores.presence(key, uid)),
                self.queue.clone(),
                self.metrics.clone(),
                errors.clone(),
            ))
        });
        let finalizer = self.finalizer.map(|name| Finalizer {
            name,
            clusters: self.clusters.clone(),
            namespace_of: self.namespace_of.clone(),
            owned: kinds,
            resource,
        });

        let (leader, leading) = follow_leadership(self.leadership);
        let mut background = JoinSet::new();
        if let Some(collector) = &collector {
            background.spawn(collector.clone().run(leading.clone()));
        }
        for mut keys in self.keys {
            let queue = self.queue.clone();
            let trigger = async move {
                while let Some(key) = keys.next().await {
                    queue.push(key);
                }
            };
            background.spawn(report_panic(trigger, errors.clone()));
        }
        for mut triggers in self.resyncs {
            let (queue, stores) = (self.queue.clone(), self.stores.clone());
            let trigger = async move {
                while triggers.next().await.is_some() {
                    stores.objects().into_iter().for_each(|(key, _)| queue.push(key));
                }
            };
            background.spawn(report_panic(trigger, errors.clone()));
        }

        let members = Members::new(Plan {
            kind: self.kind.clone(),
            api: self.api,
            namespace_of: self.namespace_of,
            config: self.config,
            reconciles_in: self.reconciles_in,
            modify: self.modify,
            predicate: self.predicate,
            owned: self.owned,
            mapped: self.mapped,
            collector,
            stores: self.stores.clone(),
            queue: self.queue.clone(),
            metrics: self.metrics,
            errors,
        });
        let reconcile_loop = ReconcileLoop {
            kind: self.kind,
            reconciler: Arc::new(Reconciler { reconcile, error_policy, context, finalizer }),
            backoff: self.backoff,
            queue: self.queue,
            stores: self.stores,
            members,
            running: Tasks::default(),
            results,
        };
        let first = |futures: Vec<_>| match futures.is_empty() {
            true => pending().boxed(),
            false => select_all(futures).map(drop).boxed(),
        };
        let shutdown = Shutdown { graceful: first(self.graceful), forceful: first(self.forceful) };
        let clusters = self.clusters;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let stopping = move || drop(background);
            reconcile_loop.run(clusters, leading, shutdown, stopping).await;
            drop(leader);
        });
        Running { results: results_received, errors: errors_received, tasks }
    }
}

/// Runs a stream of the caller that triggers reconciliations.
async fn report_panic(trigger: impl Future<Output = ()>, errors: mpsc::Sender<BackgroundError>) {
    if let Err(panic) = AssertUnwindSafe(trigger).catch_unwind().await {
        let message = panic_message(panic.as_ref());
        drop(errors.try_send(BackgroundError::TriggerPanicked { message }));
    }
}

/// Follows the stream in its own task, so that a loss of leadership is noticed at once, even during shutdown. Without
/// a stream, this replica always leads.
fn follow_leadership(stream: Option<BoxStream<'static, bool>>) -> (JoinSet<()>, watch::Receiver<bool>) {
    let (sender, leading) = watch::channel(stream.is_none());
    let mut task = JoinSet::new();
    if let Some(mut stream) = stream {
        let leadership = Leadership(sender);
        task.spawn(async move {
            while let Some(is_leading) = stream.next().await {
                leadership.0.send_replace(is_leading);
            }
        });
    }
    (task, leading)
}

/// Ends leadership when it is dropped, also by a panic of the stream.
struct Leadership(watch::Sender<bool>);

impl Drop for Leadership {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// A running controller, which ends when this is dropped.
struct Running<E: std::error::Error + 'static> {
    results: Receiver<Reconciled<E>>,
    errors: mpsc::Receiver<BackgroundError>,
    tasks: JoinSet<()>,
}

impl<E: std::error::Error + Send + 'static> Running<E> {
    async fn next(mut self) -> Option<(Reconciled<E>, Self)> {
        let item = tokio::select! {
            item = self.results.next() => item,
            Some(error) = self.errors.recv() => Some(Err(error.into())),
        };
        if let Some(item) = item {
            return Some((item, self));
        }
        // Resume a panic of the caller's code, such as the trigger of a shutdown, on the caller's task.
        if let Some(Err(error)) = self.tasks.join_next().await
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::ends(stream::iter([true]).boxed())]
    #[case::stops_leading(stream::iter([true, false]).chain(stream::pending()).boxed())]
    #[case::panics(stream::iter([0, 1]).map(|item| item == 0 || panic!("broken")).boxed())]
    #[tokio::test(start_paused = true)]
    async fn leadership_ends_with_its_stream(#[case] stream: BoxStream<'static, bool>) {
        let (mut task, leading) = follow_leadership(Some(stream));
        drop(tokio::time::timeout(std::time::Duration::from_secs(3600), task.join_next()).await);
        assert!(!*leading.borrow());
    }

    #[tokio::test]
    async fn without_a_stream_the_controller_leads() {
        let (_task, leading) = follow_leadership(None);
        assert!(*leading.borrow());
    }
}
