use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use clap::Parser;
use futures::future;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::service_fn;

use super::*;

const DURATION: Duration = Duration::from_secs(15);

/// A fake API server with one Lease.
#[derive(Clone)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    /// Time and holder of each write.
    writes: watch::Sender<Vec<(Instant, String)>>,
    health: watch::Sender<Health>,
}

#[derive(Clone, Copy, PartialEq)]
enum Health {
    Healthy,
    Hanging,
    Failing,
}

impl Server {
    fn new() -> Self {
        Self {
            lease: Arc::default(),
            writes: watch::Sender::default(),
            health: watch::Sender::new(Health::Healthy),
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        Client::new(service, "ns")
    }

    async fn respond(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let health = *self.health.borrow();
        match health {
            Health::Healthy => {}
            Health::Hanging => std::future::pending().await,
            Health::Failing => return refuse(500, "InternalError"),
        }
        let collection = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
        let object = format!("{collection}/importer");
        let mut lease = self.lease.lock().unwrap();
        let known = lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let path = parts.uri.path();
        match (parts.method, known) {
            (Method::GET, Some(_)) if path == object => return accept(lease.as_ref().unwrap()),
            (Method::GET | Method::PUT, None) if path == object => return refuse(404, "NotFound"),
            (Method::POST, None) if path == collection => {}
            (Method::POST, Some(_)) if path == collection => return refuse(409, "AlreadyExists"),
            (Method::PUT, Some(known)) if path == object => {
                let sent: Value = serde_json::from_slice(&body).unwrap();
                if sent["metadata"]["resourceVersion"] != known {
                    return refuse(409, "Conflict");
                }
            }
            other => panic!("{other:?} {path}"),
        }
        self.write(&mut lease, serde_json::from_slice(&body).unwrap());
        accept(lease.as_ref().unwrap())
    }

    fn write(&self, lease: &mut Option<Value>, mut new: Value) {
        let holder = new["spec"]["holderIdentity"].as_str().unwrap().to_owned();
        self.writes.send_modify(|writes| {
            writes.push((Instant::now(), holder));
            new["metadata"]["resourceVersion"] = json!(writes.len().to_string());
        });
        *lease = Some(new);
    }

    /// Edits the Lease as a user would.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut lease = self.lease.lock().unwrap();
        let mut new = lease.clone().unwrap();
        change(&mut new);
        self.write(&mut lease, new);
    }

    fn delete(&self) {
        *self.lease.lock().unwrap() = None;
    }

    fn spec(&self, field: &str) -> Value {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"][field].clone()
    }

    /// Waits for this many more writes.
    async fn writes(&self, more: usize) {
        let wanted = self.writes.borrow().len() + more;
        soon(self.writes.subscribe().wait_for(|writes| writes.len() >= wanted)).await.unwrap();
    }

    fn last_write(&self) -> (Instant, String) {
        self.writes.borrow().last().unwrap().clone()
    }
}

fn accept(lease: &Value) -> Response<Body> {
    Response::new(Body::from(serde_json::to_vec(lease).unwrap()))
}

fn refuse(code: u16, reason: &str) -> Response<Body> {
    let status =
        json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason});
    Response::builder().status(code).body(Body::from(serde_json::to_vec(&status).unwrap())).unwrap()
}

/// Fails instead of waiting forever, as the paused clock advances.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    timeout(DURATION * 100, event).await.expect("the awaited event does not happen")
}

/// A running candidate.
struct Replica {
    fence: Fence,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(server: &Server, identity: &str) -> Self {
        let candidate = Candidate {
            namespace: "ns".into(),
            name: "importer".into(),
            identity: identity.into(),
            seconds: u16::try_from(DURATION.as_secs()).unwrap(),
        };
        let fence = Fence::initially_closed();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(hold(server.client(), candidate, fence.clone(), stopped));
        Self { fence, stop: Some(stop), task }
    }

    /// A leader, and a follower that has observed it.
    async fn leader_and_follower(server: &Server) -> (Self, Self) {
        let leader = Self::start(server, "a");
        soon(leader.fence.opened()).await;
        let follower = Self::start(server, "b");
        server.writes(2).await;
        (leader, follower)
    }

    async fn stop(mut self) {
        self.stop.take();
        self.task.await.unwrap();
    }

    /// Ends it as a crash does.
    fn kill(&self) {
        self.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn lease_is_created_and_renewed() {
    let server = Server::new();
    let replica = Replica::start(&server, "a");
    soon(replica.fence.opened()).await;
    let (acquired, renewed) = (server.spec("acquireTime"), server.spec("renewTime"));
    server.writes(20).await;
    assert!(replica.fence.is_open());
    assert_eq!(server.spec("holderIdentity"), "a");
    assert_eq!(server.spec("leaseDurationSeconds"), 15);
    assert_eq!(server.spec("leaseTransitions"), 0);
    assert_eq!(server.spec("acquireTime"), acquired);
    assert_ne!(server.spec("renewTime"), renewed);
}

#[tokio::test(start_paused = true)]
async fn only_one_replica_leads() {
    let server = Server::new();
    let replicas: Vec<_> = ["a", "b", "c"].map(|identity| Replica::start(&server, identity)).into();
    server.writes(20).await;
    let leading = replicas.iter().filter(|replica| replica.fence.is_open()).count();
    assert_eq!(leading, 1);
    let writes = server.writes.borrow().clone();
    assert!(writes.iter().all(|(_, holder)| *holder == writes[0].1));
}

#[tokio::test(start_paused = true)]
async fn follower_leads_only_after_the_lease_expires() {
    let server = Server::new();
    let (leader, follower) = Replica::leader_and_follower(&server).await;
    leader.kill();
    let (renewed, _) = server.last_write();
    soon(leader.fence.closed()).await;
    assert!(renewed.elapsed() < DURATION);
    soon(follower.fence.opened()).await;
    assert!(server.last_write().0 - renewed >= DURATION);
    assert_eq!(server.spec("holderIdentity"), "b");
    assert_eq!(server.spec("leaseTransitions"), 1);
}

#[tokio::test(start_paused = true)]
async fn released_lease_is_acquired_by_the_next_attempt() {
    let server = Server::new();
    let (leader, follower) = Replica::leader_and_follower(&server).await;
    let fence = leader.fence.clone();
    leader.stop().await;
    assert!(!fence.is_open());
    assert_eq!(server.spec("holderIdentity"), "");
    let (released, _) = server.last_write();
    soon(follower.fence.opened()).await;
    assert!(released.elapsed() <= DURATION / 3);
}

#[tokio::test(start_paused = true)]
async fn stopped_follower_does_not_write_the_lease() {
    let server = Server::new();
    let (leader, follower) = Replica::leader_and_follower(&server).await;
    let writes = server.writes.borrow().len();
    follower.stop().await;
    assert_eq!(server.writes.borrow().len(), writes);
    assert!(leader.fence.is_open());
}

#[tokio::test(start_paused = true)]
async fn stop_does_not_wait_for_a_hanging_server() {
    let server = Server::new();
    let replica = Replica::start(&server, "a");
    soon(replica.fence.opened()).await;
    server.health.send_replace(Health::Hanging);
    let start = Instant::now();
    replica.stop().await;
    assert!(start.elapsed() <= RELEASE_DEADLINE);
}

#[rstest::rstest]
#[case(Health::Hanging)]
#[case(Health::Failing)]
#[tokio::test(start_paused = true)]
async fn leader_that_cannot_renew_stops_before_its_lease_expires(#[case] health: Health) {
    let server = Server::new();
    let replica = Replica::start(&server, "a");
    server.writes(5).await;
    let (renewed, _) = server.last_write();
    server.health.send_replace(health);
    soon(replica.fence.closed()).await;
    assert!(renewed.elapsed() < DURATION);

    // It leads again when the server recovers.
    server.health.send_replace(Health::Healthy);
    soon(replica.fence.opened()).await;
    assert_eq!(server.spec("leaseTransitions"), 0);
}

#[tokio::test(start_paused = true)]
async fn one_failed_renewal_does_not_end_the_term() {
    let server = Server::new();
    let replica = Replica::start(&server, "a");
    server.writes(2).await;
    let term = replica.fence.term();
    server.health.send_replace(Health::Failing);
    sleep(DURATION / 3).await;
    server.health.send_replace(Health::Healthy);
    server.writes(2).await;
    assert!(replica.fence.left(term).is_some());
}

#[tokio::test(start_paused = true)]
async fn leader_stops_when_the_lease_has_another_holder() {
    let server = Server::new();
    let (leader, follower) = Replica::leader_and_follower(&server).await;
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("c"));
    let (edited, _) = server.last_write();
    soon(leader.fence.closed()).await;
    assert!(edited.elapsed() <= DURATION / 3);
    // The new holder never renews.
    soon(future::select(pin!(leader.fence.opened()), pin!(follower.fence.opened()))).await;
    assert!(edited.elapsed() >= DURATION);
}

#[tokio::test(start_paused = true)]
async fn unrelated_edit_does_not_end_the_term() {
    let server = Server::new();
    let replica = Replica::start(&server, "a");
    server.writes(2).await;
    let term = replica.fence.term();
    server.edit(|lease| lease["metadata"]["labels"] = json!({"app": "x"}));
    server.writes(3).await;
    assert!(replica.fence.left(term).is_some());
    assert_eq!(server.lease.lock().unwrap().as_ref().unwrap()["metadata"]["labels"]["app"], "x");
}

#[tokio::test(start_paused = true)]
async fn holder_recreates_a_deleted_lease_in_a_new_term() {
    let server = Server::new();
    let (leader, follower) = Replica::leader_and_follower(&server).await;
    let term = leader.fence.term();
    server.delete();
    soon(leader.fence.ended(term)).await;
    soon(leader.fence.opened()).await;
    assert!(!follower.fence.is_open());
    assert_eq!(server.spec("holderIdentity"), "a");
}

#[tokio::test(start_paused = true)]
async fn follower_acquires_a_deleted_lease_only_after_its_term() {
    let server = Server::new();
    let (leader, follower) = Replica::leader_and_follower(&server).await;
    leader.kill();
    let (renewed, _) = server.last_write();
    server.delete();
    soon(follower.fence.opened()).await;
    assert!(server.last_write().0 - renewed >= DURATION);
}

#[tokio::test(start_paused = true)]
async fn leader_recognizes_its_write_after_a_lost_response() {
    let server = Server::new();
    let replica = Replica::start(&server, "a");
    server.writes(2).await;
    server.edit(|lease| lease["spec"]["renewTime"] = json!("2020-01-01T00:00:00.000000Z"));
    let term = replica.fence.term();
    server.writes(2).await;
    assert!(replica.fence.left(term).is_some());
}

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    lease: LeaseArgs,
}

#[rstest::rstest]
#[case(&[], Some(15))]
#[case(&["--lease-duration", "60"], Some(60))]
#[case(&["--leader-elect=false"], None)]
fn candidate_follows_the_flags(#[case] flags: &[&str], #[case] seconds: Option<u16>) {
    let args = Args::parse_from([&["test"], flags].concat()).lease;
    let candidate = args.candidate("ns", "importer");
    assert_eq!(candidate.as_ref().map(|candidate| candidate.seconds), seconds);
    let again = args.candidate("ns", "importer");
    assert!(candidate.is_none_or(|candidate| candidate.identity != again.unwrap().identity));
}

#[test]
fn too_short_lease_duration_is_rejected() {
    assert!(Args::try_parse_from(["test", "--lease-duration", "2"]).is_err());
}
