//! Simulates API servers that replay a recording as fast as clients read it, so that they are not the bottleneck. One
//! HTTP server simulates all of them, each under its own path.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::{FutureExt, Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::recording::{Recorded, Recording, list};

/// The difference between a pod's resource versions in two successive laps. The versions of lap 0 are those of the
/// recording.
pub const LAP: u64 = 10_000_000;

/// After all laps, one in this number of pods changes once more. These changes are sent one by one, while the
/// controller is idle.
pub const TRICKLE: usize = 5;

/// Interval of the changes of [`TRICKLE`], over all servers.
const TRICKLE_INTERVAL: Duration = Duration::from_millis(1);

/// The running servers. Dropping this stops them.
pub struct Replay {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

struct Shared {
    recording: Recording,
    laps: u32,
    /// The current run and its stage.
    current: watch::Sender<(u32, Stage)>,
}

/// The stage of a run, which decides the events that watches send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Listed,
    Laps,
    /// The additional changes, one after the other.
    Trickle,
}

/// One of the `of` servers of a run.
#[derive(Clone)]
struct Shard {
    shared: Arc<Shared>,
    of: usize,
    number: usize,
}

impl Replay {
    pub async fn start(recording: Recording, laps: u32) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Shared { recording, laps, current: watch::Sender::default() };
        let router = Router::new()
            .route("/{run}/{of}/{number}/readyz", get(async || "ok"))
            .route("/{run}/{of}/{number}/api/v1/pods", get(pods))
            .route("/{run}/stage/{stage}", get(set_stage))
            .with_state(Arc::new(shared));
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, task })
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The URL of a server.
pub fn url(address: SocketAddr, run: u32, of: u32, number: u32) -> String {
    format!("http://{address}/{run}/{of}/{number}")
}

/// Starts a stage of a run.
pub async fn start_stage(address: SocketAddr, run: u32, stage: Stage) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /{run}/stage/{stage:?} HTTP/1.1\r\nHost: replay\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    anyhow::ensure!(response.starts_with("HTTP/1.1 200 "), "{response}");
    Ok(())
}

async fn set_stage(Path(to): Path<(u32, Stage)>, State(shared): State<Arc<Shared>>) -> &'static str {
    shared.current.send_replace(to);
    "ok"
}

async fn pods(
    Path((run, of, number)): Path<(u32, usize, usize)>,
    uri: Uri,
    State(shared): State<Arc<Shared>>,
) -> Response {
    let query: Vec<_> = uri.query().unwrap_or_default().split('&').collect();
    let value = |name: &str| query.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    if of == 0 || number >= of {
        return StatusCode::NOT_FOUND.into_response();
    }
    let shard = Shard { shared, of, number };
    if value("watch") == Some("true") {
        return Body::from_stream(events(shard, run)).into_response();
    }
    let parsed = |name| value(name).and_then(|value| value.parse::<usize>().ok());
    page(&shard, parsed("continue").unwrap_or(0), parsed("limit")).into_response()
}

fn page(shard: &Shard, from: usize, limit: Option<usize>) -> Vec<u8> {
    let left = shard.pods().get(from..).unwrap_or_default();
    let (some, rest) = left.split_at(limit.unwrap_or(usize::MAX).min(left.len()));
    let next = match rest.len() {
        0 => String::new(),
        rest => format!(r#","continue":"{}","remainingItemCount":{rest}"#, from + some.len()),
    };
    let head = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"#;
    let mut page = format!(r#"{head}"{}"{next}}},"items":["#, LAP - 1).into_bytes();
    list(some, &mut page);
    page.extend_from_slice(b"]}\n");
    page
}

/// Sends all laps and a bookmark without pauses, then the additional changes, then nothing.
fn events(shard: Shard, run: u32) -> impl Stream<Item = Result<Vec<u8>, Infallible>> {
    let start_of = |stage| {
        let mut current = shard.shared.current.subscribe();
        // Can't fail, because the sender lives as long as the server.
        async move { drop(current.wait_for(|current| *current >= (run, stage)).await) }
    };
    let (laps, trickle) = (stream::once(start_of(Stage::Laps)), stream::once(start_of(Stage::Trickle)));
    let pause = TRICKLE_INTERVAL * u32::try_from(shard.of).unwrap_or(u32::MAX);
    let additional_changes = shard.clone();
    let laps = laps.flat_map(move |()| stream::iter(shard.clone().laps()));
    let trickle = trickle.flat_map(move |()| stream::iter(additional_changes.clone().additional_changes()));
    let trickle = trickle.then(move |event| tokio::time::sleep(pause).map(|()| event));
    laps.chain(trickle).chain(stream::pending()).map(Ok)
}

impl Shard {
    fn pods(&self) -> &[Recorded] {
        self.shared.recording.shard(self.number, self.of)
    }

    fn event(&self, lap: u32, pod: usize) -> Vec<u8> {
        self.pods().get(pod).map(|recorded| recorded.event(version(lap, pod))).unwrap_or_default()
    }

    fn laps(self) -> impl Iterator<Item = Vec<u8>> {
        let (laps, pods) = (self.shared.laps, self.pods().len());
        let steps = (1..=laps).flat_map(move |lap| (0..pods).map(move |pod| (lap, pod)));
        steps.map(move |(lap, pod)| self.event(lap, pod)).chain([bookmark(version(laps, pods))])
    }

    fn additional_changes(self) -> impl Iterator<Item = Vec<u8>> {
        let (first, pods) = (self.shared.recording.bound(self.number, self.of), self.pods().len());
        let some = (0..pods).filter(move |pod| (first + pod).is_multiple_of(TRICKLE));
        some.map(move |pod| self.event(self.shared.laps + 1, pod))
    }
}

fn version(lap: u32, pod: usize) -> u64 {
    u64::from(lap) * LAP + pod as u64
}

fn bookmark(version: u64) -> Vec<u8> {
    let object = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","creationTimestamp":null}},"spec":{{"containers":null}},"status":{{}}}}"#
    );
    format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n").into_bytes()
}
