//! CPU and memory of the pods of a virtual node, for `kubectl top` and autoscalers: what the metrics API of the source
//! reports (<https://github.com/kubernetes/metrics>), in the format of a kubelet's `/metrics/resource`
//! (<https://kubernetes.io/docs/reference/instrumentation/node-metrics/>).

mod totals;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use mcsa_client::clusters::Member;
use mcsa_runtime::errors;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use self::totals::{NodeTotals, PodMetrics, PodMetricsList, PodTotals};
use crate::error_response;

/// How long a response is served again: callers that come at the same time cause one request.
const LIFETIME: Duration = Duration::from_secs(10);

/// The longest wait for a source. metrics-server waits ten seconds for the response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests are made at the same time, and the largest response in bytes, that of about 10,000 pods. They limit
/// the memory that a source can fill.
const CONCURRENT: usize = 4;
const MAX_RESPONSE: usize = 8 << 20;

/// Least time between warnings about a launch import: its source is asked every few seconds.
const WARNING_INTERVAL: Duration = Duration::from_secs(600);

/// Later reports are ignored: a clock that was wrong must not stop the totals.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// A home pod that runs in the source.
#[derive(Clone)]
pub(crate) struct RunningPod {
    /// The launch import's member.
    pub(crate) member: Member,
    pub(crate) home: Arc<Pod>,
}

/// The usage of the pods of one source.
#[derive(Default)]
pub(crate) struct Usage {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By UID of the home pod.
    pods: HashMap<String, PodTotals>,
    node: NodeTotals,
    response: Option<(Bytes, Instant)>,
    /// When warnings were logged, by launch import.
    warned: BTreeMap<String, Instant>,
}

impl Usage {
    /// The usage of these pods, in Prometheus' text format. A pod is missing while its source does not report it.
    pub(crate) async fn report(&self, pods: impl FnOnce() -> Vec<RunningPod>) -> Bytes {
        // Concurrent callers wait for the first, and get its response.
        let mut state = self.state.lock().await;
        if let Some((response, at)) = &state.response
            && at.elapsed() < LIFETIME
        {
            return response.clone();
        }
        let pods = pods();
        let reports = reports(&pods).await;
        state.warn_about(&reports);
        let response = Bytes::from(state.advance(&pods, &reports));
        state.response = Some((response.clone(), Instant::now()));
        response
    }

    /// Forgets the totals. Another replica may have served others since.
    pub(crate) async fn reset(&self) {
        *self.state.lock().await = State::default();
    }
}

/// The usage of the pods in one remote namespace, by their names.
type Report = HashMap<String, PodMetrics>;

/// The reports of the members that run the pods, by the member's name.
async fn reports(pods: &[RunningPod]) -> BTreeMap<String, kube::Result<Report>> {
    let mut members: BTreeMap<_, (_, HashSet<_>)> = BTreeMap::new();
    for RunningPod { member, home } in pods {
        let (_, names) = members.entry(member.name()).or_insert((member, HashSet::new()));
        names.insert(home.name_any());
    }
    let reachable: Vec<_> =
        members.into_values().filter(|(member, _)| !member.health().is_unavailable()).collect();
    let late = || kube::Error::Service(format!("no response within {}s", TIMEOUT.as_secs()).into());
    let mut reports: BTreeMap<_, _> =
        reachable.iter().map(|(member, _)| (member.name().to_string(), Err(late()))).collect();
    let requests = reachable.iter().map(|(member, names)| {
        let (name, client) = (member.name().to_string(), member.client());
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", member.default_namespace());
        async move { (name, report(client, path, names).await) }
    });
    let requests: Vec<_> = requests.collect();
    let responses = stream::iter(requests).buffer_unordered(CONCURRENT).take_until(sleep(TIMEOUT));
    reports.extend(responses.collect::<Vec<_>>().await);
    reports
}

/// The report of the pods with these names. A source may report any number of others, which must not fill the memory.
async fn report(client: Client, path: String, names: &HashSet<String>) -> kube::Result<Report> {
    let request = http::Request::get(path).body(kube::client::Body::empty());
    let response = client.send(request.map_err(kube::Error::HttpError)?).await?;
    if !response.status().is_success() {
        return Err(error_response::read(response).await);
    }
    let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
    let body = body.map_err(kube::Error::Service)?.to_bytes();
    let list: PodMetricsList = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
    let items = list.items.into_iter().filter(|item| names.contains(&item.metadata.name));
    Ok(items.map(|item| (item.metadata.name.clone(), item)).collect())
}

impl State {
    /// Adds the reports to the totals, and returns those of the reported pods, and of the node.
    fn advance(&mut self, pods: &[RunningPod], reports: &BTreeMap<String, kube::Result<Report>>) -> String {
        let latest = Timestamp::now().checked_add(MAX_CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        let mut before = std::mem::take(&mut self.pods);
        let mut reported_pods = Vec::new();
        for RunningPod { member, home } in pods {
            let uid = home.uid().unwrap_or_default();
            let known = before.remove(&uid);
            let report = reports.get(&**member.name()).and_then(|report| report.as_ref().ok());
            let reported = report.and_then(|report| report.get(&home.name_any()));
            let reported = reported.filter(|reported| reported.timestamp.is_some_and(|at| at <= latest));
            let advanced = reported.map(|reported| PodTotals::advance(known.as_ref(), home, reported));
            if let Some(totals) = &advanced {
                reported_pods.push((home.clone(), totals.clone()));
            }
            if let Some(totals) = advanced.or(known) {
                self.pods.insert(uid, totals);
            }
        }
        self.node.advance(&reported_pods);
        totals::render(&reported_pods, &self.node)
    }

    fn warn_about(&mut self, reports: &BTreeMap<String, kube::Result<Report>>) {
        self.warned.retain(|import, at| reports.contains_key(import) && at.elapsed() < WARNING_INTERVAL);
        for (import, report) in reports {
            let Err(error) = report else { continue };
            let line = errors::short(&errors::line(error));
            let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
            // A source may well have no metrics API.
            if code == 404 || self.warned.contains_key(import) {
                debug!(import, error = line, "no usage of pods");
                continue;
            }
            self.warned.insert(import.clone(), Instant::now());
            let advice =
                (code == 403).then_some("run kubemcsa launch again: it grants list on pods.metrics.k8s.io");
            warn!(import, error = line, advice, "can't read the usage of pods in the source");
        }
    }
}
