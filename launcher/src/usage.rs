//! CPU and memory of running pods, for `kubectl top` and autoscalers: what the metrics API of each source reports
//! (<https://github.com/kubernetes/metrics>), in the format of a kubelet's `/metrics/resource`
//! (<https://kubernetes.io/docs/reference/instrumentation/node-metrics/>).
//!
//! *Absent:* usage of nodes. All virtual nodes have one address, so a scraper gets the same response for each.

mod totals;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::Request;
use kube::{Client, ResourceExt};
use mcsa_client::clusters::Member;
use mcsa_runtime::errors;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use self::totals::{PodMetrics, PodMetricsList, PodTotals};

/// How long a response is served again. A scraper asks once for each virtual node.
const LIFETIME: Duration = Duration::from_secs(10);

/// The longest wait for all sources. metrics-server waits ten seconds for the response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests are made at the same time.
const CONCURRENT: usize = 64;

/// Least time between warnings: the sources are asked every few seconds.
const WARNING_INTERVAL: Duration = Duration::from_secs(600);

/// A home pod that runs in a source.
#[derive(Clone)]
pub(crate) struct RunningPod {
    /// The launch import's member.
    pub(crate) member: Member,
    pub(crate) home: Arc<Pod>,
}

/// Lists the pods that run in sources.
type RunningPods = dyn Fn() -> Vec<RunningPod> + Send + Sync;

/// Reports the usage of all running pods.
pub(crate) struct Usage {
    pods: Box<RunningPods>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By UID of the home pod.
    totals: HashMap<String, PodTotals>,
    response: Option<(Bytes, Instant)>,
    warned_at: Option<Instant>,
}

impl Usage {
    /// `pods` does not wait.
    pub(crate) fn new(pods: impl Fn() -> Vec<RunningPod> + Send + Sync + 'static) -> Self {
        Self { pods: Box::new(pods), state: Mutex::default() }
    }

    /// The usage of all pods, in Prometheus' text format. A pod is missing while its source does not report it.
    pub(crate) async fn report(&self) -> Bytes {
        // Concurrent callers wait for the first, and get its response.
        let mut state = self.state.lock().await;
        if let Some((response, at)) = &state.response
            && at.elapsed() < LIFETIME
        {
            return response.clone();
        }
        let pods = (self.pods)();
        let reports = reports(&pods).await;
        state.warn_about(&reports);
        let mut totals = HashMap::new();
        let mut current = Vec::new();
        for RunningPod { member, home } in &pods {
            let uid = home.uid().unwrap_or_default();
            let known = state.totals.remove(&uid);
            let reported = reports.get(&**member.name()).and_then(|report| report.as_ref().ok());
            let reported = reported.and_then(|report| report.get(&home.name_any()));
            let advanced = reported.map(|reported| PodTotals::advance(known.as_ref(), home, reported));
            if let Some(totals) = &advanced {
                current.push((home.clone(), totals.clone()));
            }
            if let Some(latest) = advanced.or(known) {
                totals.insert(uid, latest);
            }
        }
        let response = Bytes::from(totals::render(&current));
        state.totals = totals;
        state.response = Some((response.clone(), Instant::now()));
        response
    }
}

/// The usage of the pods in one remote namespace, by their names.
type Report = HashMap<String, PodMetrics>;

/// The report of each member that runs one of the pods, by the member's name. Members that don't respond in time are
/// missing.
async fn reports(pods: &[RunningPod]) -> BTreeMap<String, kube::Result<Report>> {
    let members: BTreeMap<_, _> = pods.iter().map(|pod| (pod.member.name(), &pod.member)).collect();
    let reachable = members.into_values().filter(|member| !member.health().is_unavailable());
    let requests = reachable.map(|member| {
        let (name, client) = (member.name().to_string(), member.client());
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", member.default_namespace());
        async move { (name, report(client, path).await) }
    });
    let requests: Vec<_> = requests.collect();
    stream::iter(requests).buffer_unordered(CONCURRENT).take_until(sleep(TIMEOUT)).collect().await
}

async fn report(client: Client, path: String) -> kube::Result<Report> {
    let request = Request::new(path).list(&ListParams::default()).map_err(kube::Error::BuildRequest)?;
    let list: PodMetricsList = client.request(request).await?;
    Ok(list.items.into_iter().filter_map(|item| Some((item.metadata.name.clone()?, item))).collect())
}

impl State {
    fn warn_about(&mut self, reports: &BTreeMap<String, kube::Result<Report>>) {
        let failures = reports.iter().filter_map(|(import, report)| Some((import, report.as_ref().err()?)));
        for (import, error) in failures {
            let line = errors::short(&errors::line(error));
            // A source may well have no metrics API.
            let is_absent = matches!(error, kube::Error::Api(status) if status.code == 404);
            if is_absent || self.warned_at.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
                debug!(import, error = line, "no usage of pods");
                continue;
            }
            self.warned_at = Some(Instant::now());
            let is_forbidden = matches!(error, kube::Error::Api(status) if status.code == 403);
            let advice = is_forbidden.then_some("run kubemcsa launch again: it grants the right to read it");
            warn!(import, error = line, advice, "can't read the usage of pods in the source");
        }
    }
}
