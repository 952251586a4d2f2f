//! How a controller is set going.

use std::fmt::Debug;
use std::future::pending;
use std::hash::Hash;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use futures::future::{FutureExt, select_all};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use kube::Resource;
use kube::runtime::controller::Action;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::builder::Controller;
use super::collect::{Collect, Owned};
use super::error::{Error, Trouble};
use super::finalizer::Finalizer;
use super::key::Key;
use super::members::{Fleet, Plan};
use super::reconcile_loop::{Driver, Reconciled, Shutdown};
use super::reconciler::Work;
use super::request::Request;
use super::results::{Inbox, outbox};
use super::scope::Scoped;
use super::tasks::Runs;

/// How many errors of watches wait to be read; more are dropped.
const TROUBLES: usize = 256;

impl<K> Controller<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Send + Sync + 'static,
    K::Scope: Scoped,
{
    /// Runs it, for as long as the stream is polled: what comes of each reconciliation, and what goes wrong.
    ///
    /// Nothing happens before the first poll, and all ends when the stream is dropped. Each reconciliation is a
    /// task of its own, so that a panic or a long computation in one of them is nobody else's. When nobody reads
    /// on, nothing new is begun after a while.
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
        let (troubles, troubles_read) = mpsc::channel(TROUBLES);
        let (outbox, inbox) = outbox();
        let namespace = self.namespace.clone();
        let confine = |(owned, is_narrowed, config): (Owned, bool, _)| {
            let namespace = namespace.clone().filter(|_| is_narrowed);
            (Owned { namespace, ..owned }, config)
        };
        let owned: Vec<_> = self.owned.into_iter().map(confine).collect();
        let kinds: Vec<_> = owned.iter().map(|(owned, _)| owned.clone()).collect();
        let resource = self.kind.resource.clone();

        let stores = self.stores.clone();
        let collect = (!kinds.is_empty()).then(|| {
            Arc::new(Collect::new(
                self.clusters.clone(),
                resource.clone(),
                kinds.clone(),
                Box::new(move |key, uid| stores.presence(key, uid)),
                self.metrics.clone(),
                troubles.clone(),
            ))
        });
        let finalizer = self.finalizer.map(|name| Finalizer {
            name,
            clusters: self.clusters.clone(),
            owned: kinds,
            resource,
        });

        let (leader, leading) = leadership(self.leadership);
        let mut background = JoinSet::new();
        if let Some(collect) = &collect {
            background.spawn(collect.clone().run(leading.clone()));
        }
        for mut keys in self.keys {
            let queue = self.queue.clone();
            background.spawn(async move {
                while let Some(key) = keys.next().await {
                    queue.push(key);
                }
            });
        }
        for mut triggers in self.resyncs {
            let (queue, stores) = (self.queue.clone(), self.stores.clone());
            background.spawn(async move {
                while triggers.next().await.is_some() {
                    stores.keys().into_iter().for_each(|key| queue.push(key));
                }
            });
        }

        let fleet = Fleet::new(Plan {
            kind: self.kind.clone(),
            api: self.api,
            namespace,
            config: self.config,
            is_home: self.is_home,
            modify: self.modify,
            owned,
            watched: self.watched,
            collect,
            stores: self.stores.clone(),
            queue: self.queue.clone(),
            metrics: self.metrics,
            troubles,
        });
        let driver = Driver {
            kind: self.kind,
            work: Arc::new(Work { reconcile, error_policy, context, finalizer }),
            backoff: self.backoff,
            queue: self.queue,
            stores: self.stores,
            fleet,
            runs: Runs::default(),
            outbox,
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
            driver.run(clusters, leading, shutdown, stopping).await;
            drop(leader);
        });
        Running { inbox, troubles: troubles_read, tasks }
    }
}

/// Whether this replica leads. Watched by a task of its own, to the end: it is not to be noticed late, nor to be
/// missed while all else is shut down.
fn leadership(said: Option<BoxStream<'static, bool>>) -> (JoinSet<()>, watch::Receiver<bool>) {
    let (leads, leading) = watch::channel(said.is_none());
    let mut task = JoinSet::new();
    if let Some(mut said) = said {
        let leads = Leads(leads);
        task.spawn(async move {
            while let Some(is_leading) = said.next().await {
                leads.0.send_replace(is_leading);
            }
        });
    }
    (task, leading)
}

/// However it ends who says so, this replica leads no more.
struct Leads(watch::Sender<bool>);

impl Drop for Leads {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// A controller that runs. Dropped, it ends.
struct Running<E: std::error::Error + 'static> {
    inbox: Inbox<Reconciled<E>>,
    troubles: mpsc::Receiver<Trouble>,
    tasks: JoinSet<()>,
}

impl<E: std::error::Error + Send + 'static> Running<E> {
    async fn next(mut self) -> Option<(Reconciled<E>, Self)> {
        let item = tokio::select! {
            item = self.inbox.next() => item,
            Some(trouble) = self.troubles.recv() => Some(Err(trouble.into())),
        };
        if let Some(item) = item {
            return Some((item, self));
        }
        // A panic of the user's code, as in the choice of members, is where it would be without tasks.
        if let Some(Err(error)) = self.tasks.join_next().await
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
        None
    }
}

/// Ends with the signal of this number, SIGINT or SIGTERM.
pub(super) async fn on_signal(number: usize) {
    let wait = async || {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        for _ in 0..number {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        io::Result::Ok(())
    };
    if let Err(error) = wait().await {
        tracing::error!(%error, "can't listen for signals: they will end the process at once");
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::ends(stream::iter([true]).boxed())]
    #[case::says_so(stream::iter([true, false]).chain(stream::pending()).boxed())]
    #[case::panics(stream::iter([0, 1]).map(|number| number == 0 || panic!("no more")).boxed())]
    #[tokio::test(start_paused = true)]
    async fn leadership_does_not_outlive_who_gives_it(#[case] said: BoxStream<'static, bool>) {
        let (mut task, leading) = leadership(Some(said));
        drop(tokio::time::timeout(std::time::Duration::from_secs(3600), task.join_next()).await);
        assert!(!*leading.borrow());
    }

    #[tokio::test]
    async fn without_election_each_leads() {
        let (_task, leading) = leadership(None);
        assert!(*leading.borrow());
    }
}
