//! Runs a task for each member.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::watcher::DefaultBackoff;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::error;

use super::changes::Change;
use super::member::Member;

/// Runs `task` for each member that joins. Ends with the set, when all tasks have been dropped.
pub(super) async fn run<F, Fut>(mut changes: impl Stream<Item = Change> + Unpin, task: F)
where
    F: Fn(Member) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (task, mut running) = (Arc::new(task), JoinSet::new());
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Change::Joined(member)) => drop(running.spawn(run_until_left(member, task.clone()))),
                Some(Change::Updated(_) | Change::Left(_)) => {}
                None => break,
            },
            Some(_) = running.join_next() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// Runs the task until it returns or the member leaves. A task that panics starts again.
async fn run_until_left<F, Fut>(member: Member, task: Arc<F>)
where
    F: Fn(Member) -> Fut,
    Fut: Future<Output = ()>,
{
    let retry_panics = async {
        // Kube's back-off for watches: up to a minute, and reset after two minutes without a panic.
        let mut backoff = DefaultBackoff::default();
        while AssertUnwindSafe(async { task(member.clone()).await }).catch_unwind().await.is_err() {
            let pause = backoff.next().unwrap_or_default();
            error!(cluster = &**member.name(), ?pause, "the task of a member panicked; it starts again");
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = member.left() => {}
        () = retry_panics => {}
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, timeout};

    use crate::clusters::{Clusters, Member};

    /// Reports the end of a task.
    struct Ends(String, UnboundedSender<String>);

    impl Drop for Ends {
        fn drop(&mut self) {
            drop(self.1.send(format!("{} ends", self.0)));
        }
    }

    fn client() -> Client {
        let respond = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
        Client::new(tower::service_fn(respond), "default")
    }

    /// Runs a task for each member, which does what its name says.
    fn run(clusters: &Clusters) -> (JoinHandle<()>, UnboundedReceiver<String>) {
        let (events, received) = unbounded_channel();
        let task = move |member: Member| {
            let events = events.clone();
            async move {
                let name = member.name().to_string();
                drop(events.send(format!("{name} starts")));
                let _ends = Ends(name.clone(), events);
                match &*name {
                    "returns" => {}
                    "panics" => panic!("a bug"),
                    _ => std::future::pending().await,
                }
            }
        };
        (tokio::spawn(clusters.for_each_member(task)), received)
    }

    async fn next(events: &mut UnboundedReceiver<String>) -> String {
        timeout(Duration::from_secs(3600), events.recv()).await.unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn task_of_a_member_ends_when_the_member_leaves() {
        let clusters = Clusters::fixed([("c1", client())]);
        let (running, mut events) = run(&clusters);
        assert_eq!(next(&mut events).await, "c1 starts");
        clusters.join("c2", client());
        assert_eq!(next(&mut events).await, "c2 starts");
        clusters.leave("c1");
        assert_eq!(next(&mut events).await, "c1 ends");
        clusters.join("c1", client());
        assert_eq!(next(&mut events).await, "c1 starts");
        drop(clusters);
        running.await.unwrap();
        let mut ends = [next(&mut events).await, next(&mut events).await];
        ends.sort();
        assert_eq!(ends, ["c1 ends", "c2 ends"]);
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_end_when_the_future_is_dropped() {
        let clusters = Clusters::fixed([("c1", client())]);
        let (running, mut events) = run(&clusters);
        assert_eq!(next(&mut events).await, "c1 starts");
        running.abort();
        assert_eq!(next(&mut events).await, "c1 ends");
    }

    #[tokio::test(start_paused = true)]
    async fn task_that_returns_does_not_start_again() {
        let clusters = Clusters::fixed([("returns", client())]);
        let (_running, mut events) = run(&clusters);
        assert_eq!(next(&mut events).await, "returns starts");
        assert_eq!(next(&mut events).await, "returns ends");
        assert!(timeout(Duration::from_secs(3600), events.recv()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn task_that_panics_starts_again_with_back_off() {
        let clusters = Clusters::fixed([("panics", client())]);
        let (_running, mut events) = run(&clusters);
        let start = Instant::now();
        for _ in 0..8 {
            assert_eq!(next(&mut events).await, "panics starts");
            assert_eq!(next(&mut events).await, "panics ends");
        }
        assert!(start.elapsed() > Duration::from_secs(60), "{:?}", start.elapsed());
        clusters.leave("panics");
        assert!(timeout(Duration::from_secs(3600), events.recv()).await.is_err());
    }
}
