//! Notices what argoexec reports in a source.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, Stream, StreamExt};
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::controller::Key;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::leftovers::Leftovers;
use super::steps::Steps;
use super::stub::stub_name;
use super::{WORKFLOW, task_results};
use crate::launch_import::is_granted;
use crate::source::{HOME, is_import_of};

/// How often to look whether a launch import gives rights to outputs.
const GRANT_INTERVAL: Duration = Duration::from_secs(5);

/// Reports that are not reconciled yet. More wait in the API server.
const BUFFER: usize = 64;

/// Yields the home pods of steps whose outputs change in the source.
pub(crate) fn reports(
    clusters: &Clusters,
    cluster: Arc<str>,
    steps: Arc<Steps>,
    leftovers: Arc<Leftovers>,
) -> impl Stream<Item = Key> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(BUFFER);
    let is_of_source = is_import_of(cluster);
    let tasks = clusters.for_each_member(move |member| {
        let (observed, sender) = ((steps.clone(), leftovers.clone()), sender.clone());
        let is_of_source = is_of_source(&member);
        async move {
            if is_of_source {
                watch_while_granted(&member, (&observed.0, &observed.1), &sender).await;
            }
        }
    });
    let received = stream::poll_fn(move |context| receiver.poll_recv(context));
    stream::select(received, tasks.into_stream().filter_map(|()| std::future::ready(None)))
}

async fn watch_while_granted(member: &Member, observed: (&Steps, &Leftovers), sender: &mpsc::Sender<Key>) {
    loop {
        until(member, true).await;
        tokio::select! {
            () = watch(member, observed, sender) => return,
            () = until(member, false) => {}
        }
    }
}

async fn until(member: &Member, granted: bool) {
    while is_granted(member) != granted {
        sleep(GRANT_INTERVAL).await;
    }
}

/// Returns when nobody receives the keys any more.
async fn watch(member: &Member, (steps, leftovers): (&Steps, &Leftovers), sender: &mpsc::Sender<Key>) {
    let api: Api<PartialObjectMeta<DynamicObject>> =
        Api::default_namespaced_with(member.client(), &task_results());
    // Reports of other workflows have other owners.
    let config = watcher::Config::default().labels(&format!("{WORKFLOW}={}", stub_name(member)));
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(report) | watcher::Event::InitApply(report)) => {
                leftovers.observe(member.name(), &report.metadata);
                if let Some((namespace, pod)) = steps.report(&report.name_any())
                    && sender.send(Key::new(HOME, Some(&namespace), &pod)).await.is_err()
                {
                    return;
                }
            }
            Ok(watcher::Event::Delete(report)) => leftovers.forget(member.name(), &report.name_any()),
            // The watch of pods reports why the source does not respond.
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
        }
    }
}
