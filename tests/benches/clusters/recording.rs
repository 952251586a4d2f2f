//! Records the lists and events of pods of a real API server once. The bench replays them many times.

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream, try_join};
use http::Request;
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use mcsa_tests::Cluster;

use crate::pods;

/// Precedes the metadata of an object in an event, but not in a list.
const KIND: &str = r#""kind":"Pod","apiVersion":"v1","#;

const VERSION: &str = r#""resourceVersion":""#;

const EVENT: &str = r#"{"type":"MODIFIED","object":"#;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Number of concurrent requests.
const CONCURRENCY: usize = 32;

/// Pods as the API server serialized them, each split at its resource version.
pub struct Recording {
    pods: Vec<Recorded>,
    /// The API server's certificate authority, in PEM.
    pub authority: String,
}

pub struct Recorded {
    before: String,
    version: String,
    after: String,
}

impl Recording {
    /// Creates this number of pods, and records how they start to run.
    pub async fn of(pods: u32) -> anyhow::Result<Self> {
        let cluster = Cluster::start("recorded").await?;
        // The controller manager would delete pods without owners and nodes.
        cluster.controller_manager().kill();
        let client = cluster.client();
        let api = Api::<Pod>::default_namespaced(client.clone());
        let create_params =
            PostParams { field_manager: Some("kube-controller-manager".into()), ..Default::default() };
        let create = async |number| {
            let pod = serde_json::from_value(pods::pod(number))?;
            api.create(&create_params, &pod).await.map(drop).map_err(anyhow::Error::from)
        };
        stream::iter(0..pods).map(create).buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>().await?;

        let version =
            api.list_metadata(&Default::default()).await?.metadata.resource_version.unwrap_or_default();
        let patch_params = PatchParams { field_manager: Some("kubelet".into()), ..Default::default() };
        let report = async |number| {
            let status = Patch::Strategic(pods::running(number));
            let reported = api.patch_status(&pods::name(number), &patch_params, &status).await;
            reported.map(drop).map_err(anyhow::Error::from)
        };
        let reports = stream::iter(0..pods).map(report).buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>();
        let (_, mut pods) = try_join!(reports, watch(&client, &version, pods as usize))?;
        pods.sort_unstable_by(|one, other| one.before.cmp(&other.before));
        let recording = Self { pods, authority: cluster.ca_pem().to_owned() };
        recording.check(&client).await?;
        Ok(recording)
    }

    /// The pods of one of `of` shards.
    pub fn shard(&self, number: usize, of: usize) -> &[Recorded] {
        self.pods.get(self.bound(number, of)..self.bound(number + 1, of)).unwrap_or_default()
    }

    /// The index of a shard's first pod.
    pub fn bound(&self, number: usize, of: usize) -> usize {
        self.pods.len() * number / of
    }

    /// The mean size of a pod in JSON, in bytes.
    pub fn mean_size(&self) -> usize {
        self.pods.iter().map(|pod| pod.before.len() + pod.after.len()).sum::<usize>() / self.pods.len().max(1)
    }

    /// Verifies that a replayed list equals the API server's list.
    async fn check(&self, client: &Client) -> anyhow::Result<()> {
        let page = client.request_text(Request::get(format!("{PODS}?limit=100")).body(Vec::new())?).await?;
        let mut items = Vec::new();
        list(self.pods.get(..100).unwrap_or(&self.pods), &mut items);
        ensure!(
            page.contains(std::str::from_utf8(&items)?),
            "the recording differs from the API server's list"
        );
        Ok(())
    }
}

impl Recorded {
    fn read(line: &str) -> Option<Self> {
        let object = line.strip_prefix(EVENT)?.strip_suffix('}')?;
        let (before, rest) = object.split_once(VERSION)?;
        let (version, after) = rest.split_once('"')?;
        let (before, after) = (format!("{before}{VERSION}"), format!("\"{after}"));
        Some(Self { before, version: version.to_owned(), after })
    }

    /// Returns a `MODIFIED` event with this resource version.
    pub fn event(&self, version: u64) -> Vec<u8> {
        let mut line = Vec::with_capacity(EVENT.len() + self.before.len() + self.after.len() + 24);
        let version = version.to_string();
        for part in [EVENT, &self.before, &version, &self.after, "}\n"] {
            line.extend_from_slice(part.as_bytes());
        }
        line
    }
}

/// Appends the items of a list to `into`.
pub fn list(pods: &[Recorded], into: &mut Vec<u8>) {
    for (number, pod) in pods.iter().enumerate() {
        let before = pod.before.replacen(KIND, "", 1);
        let comma = if number == 0 { "" } else { "," };
        for part in [comma, &before, &pod.version, &pod.after] {
            into.extend_from_slice(part.as_bytes());
        }
    }
}

/// Reads this number of events.
async fn watch(client: &Client, version: &str, events: usize) -> anyhow::Result<Vec<Recorded>> {
    let uri = format!("{PODS}?watch=true&resourceVersion={version}");
    let mut body = client.send(Request::get(uri).body(Body::empty())?).await?.into_body();
    let (mut pods, mut rest) = (Vec::with_capacity(events), Vec::new());
    while pods.len() < events {
        let frame = body.frame().await.context("the watch ended")??;
        rest.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        for line in std::str::from_utf8(&lines)?.lines() {
            pods.push(Recorded::read(line).with_context(|| format!("unexpected event: {line}"))?);
        }
    }
    Ok(pods)
}
