//! How reconciliations run: panics, limits, leadership and shutdown.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_reported_and_retried() -> anyhow::Result<()> {
    let fixture = Fixture::new("panics").await?;
    fixture.objects(fixture.c1).create("a").await?;
    fixture.objects(fixture.c2).create("a").await?;
    let controller =
        fixture.parents(&fixture.clusters()).backoff(Duration::from_millis(10), Duration::from_secs(1));
    let metrics = controller.metrics();
    let reconcile = async |request: Request<ConfigMap>, attempts: Arc<AtomicUsize>| {
        if &*request.key().cluster == "c1" {
            attempts.fetch_max(request.attempt() as usize, Ordering::SeqCst);
            assert!(request.attempt() > 2, "too early");
        }
        Ok::<_, Failure>(Action::await_change())
    };
    let attempts = Arc::<AtomicUsize>::default();
    let policy = |request: &Request<ConfigMap>, _: &Failure, _: Arc<AtomicUsize>| request.backoff();
    let reconcile = move |request, attempts| {
        let reconcile = reconcile(request, attempts);
        Box::pin(reconcile) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>
    };
    let running = Running::read(metrics, controller.run(reconcile, policy, attempts.clone()));
    running.result(&["error: reconciling c1/panics/a panicked: too early"]).await;
    running
        .metric_is(r#"multicluster_controller_reconciliations_total{cluster="c1",result="ok"}"#, 1.0)
        .await;
    running
        .metric_is(r#"multicluster_controller_reconciliations_total{cluster="c1",result="panic"}"#, 3.0)
        .await;
    ensure!(attempts.load(Ordering::SeqCst) == 3);
    Ok(())
}

/// Reconciliations in `c1` wait for a permit.
struct Slow {
    permits: Semaphore,
    running: Mutex<BTreeMap<String, usize>>,
    most: Mutex<BTreeMap<String, usize>>,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self { permits: Semaphore::new(0), running: Mutex::default(), most: Mutex::default() })
    }

    fn running(&self, cluster: &str) -> usize {
        self.running.lock().unwrap().get(cluster).copied().unwrap_or_default()
    }

    async fn are_running(&self, cluster: &str, count: usize) {
        eventually(format!("{count} reconciliations run in {cluster}"), async || {
            let running = self.running(cluster);
            ensure!(running == count, "{running} run");
            Ok(())
        })
        .await;
    }
}

struct RunningGuard(Arc<Slow>, String);

impl RunningGuard {
    fn new(slow: Arc<Slow>, cluster: &str) -> Self {
        let count = {
            let mut running = slow.running.lock().unwrap();
            let count = running.entry(cluster.into()).or_default();
            *count += 1;
            *count
        };
        let mut most = slow.most.lock().unwrap();
        let highest = most.entry(cluster.into()).or_default();
        *highest = count.max(*highest);
        drop(most);
        Self(slow, cluster.into())
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

async fn slowly(request: Request<ConfigMap>, slow: Arc<Slow>) -> Result<Action, Failure> {
    let _guard = RunningGuard::new(slow.clone(), &request.key().cluster);
    if &*request.key().cluster == "c1" {
        slow.permits.acquire().await.map_err(|error| Failure(error.to_string()))?.forget();
    }
    Ok(Action::await_change())
}

fn slow_policy(request: &Request<ConfigMap>, _: &Failure, _: Arc<Slow>) -> Action {
    request.backoff()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cluster_has_its_own_limit() -> anyhow::Result<()> {
    let fixture = Fixture::new("places").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    for name in ["a", "b", "c", "d", "e"] {
        o1.create(name).await?;
    }
    let slow = Slow::new();
    let controller = fixture.parents(&fixture.clusters()).concurrency(2);
    let running = Running::read(controller.metrics(), controller.run(slowly, slow_policy, slow.clone()));
    slow.are_running("c1", 2).await;
    for name in ["a", "b", "c"] {
        o2.create(name).await?;
        running.result(&[&fixture.key("c2", name)]).await;
    }
    ensure!(slow.running("c1") == 2);
    running.metric_is(r#"multicluster_controller_running{cluster="c1"}"#, 2.0).await;
    running.metric_is(r#"multicluster_controller_queue_depth{cluster="c1"}"#, 3.0).await;
    slow.permits.add_permits(5);
    for name in ["a", "b", "c", "d", "e"] {
        running.result(&[&fixture.key("c1", name)]).await;
    }
    ensure!(slow.most.lock().unwrap()["c1"] == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_reconciles() -> anyhow::Result<()> {
    let fixture = Fixture::new("leads").await?;
    let o1 = fixture.objects(fixture.c1);
    o1.create("a").await?;
    let (leads, leadership) = mpsc::channel(1);
    let slow = Slow::new();
    let controller = fixture.parents(&fixture.clusters()).run_while_leading(received(leadership));
    let stores = controller.stores();
    let running = Running::read(controller.metrics(), controller.run(slowly, slow_policy, slow.clone()));
    eventually("the object is in the store", async || {
        stores.get(&Key::new("c1", Some("leads"), "a")).context("it is not in the store")
    })
    .await;
    ensure!(slow.most.lock().unwrap().is_empty(), "it was reconciled");

    leads.send(true).await?;
    slow.are_running("c1", 1).await;
    leads.send(false).await?;
    slow.are_running("c1", 0).await;
    running
        .metric_is(r#"multicluster_controller_reconciliations_total{cluster="c1",result="aborted"}"#, 1.0)
        .await;
    ensure!(running.results.lock().unwrap().is_empty());

    leads.send(true).await?;
    slow.permits.add_permits(1);
    running.result(&[&fixture.key("c1", "a")]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_shutdown_waits_for_running_reconciliations() -> anyhow::Result<()> {
    let fixture = Fixture::new("shutdown").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    o1.create("a").await?;
    let slow = Slow::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let controller =
        fixture.parents(&fixture.clusters()).graceful_shutdown_on(async move { drop(stopped.await) });
    let stores = controller.stores();
    let running = Running::read(controller.metrics(), controller.run(slowly, slow_policy, slow.clone()));
    slow.are_running("c1", 1).await;
    drop(stop);
    o2.create("b").await?;
    eventually("the object is in the store", async || {
        stores.get(&Key::new("c2", Some("shutdown"), "b")).context("it is not in the store")
    })
    .await;
    ensure!(slow.running("c1") == 1);
    slow.permits.add_permits(1);
    let results = running.results.clone();
    running.ends().await?;
    ensure!(*results.lock().unwrap() == [fixture.key("c1", "a")], "{results:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_controller_ends() -> anyhow::Result<()> {
    let fixture = Fixture::new("dropped").await?;
    fixture.objects(fixture.c1).create("a").await?;
    let slow = Slow::new();
    let controller = fixture.parents(&fixture.clusters());
    let running = Running::read(controller.metrics(), controller.run(slowly, slow_policy, slow.clone()));
    slow.are_running("c1", 1).await;
    drop(running);
    slow.are_running("c1", 0).await;
    Ok(())
}
