//! Repeats warnings about remote pods as events of their home pods, for `kubectl describe`.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use mcsa_client::clusters::Member;
use mcsa_client::controller::Key;

use crate::source::{Source, home_of, is_import_of};

/// Repeats the warnings of a source, until the set of clusters ends.
pub(crate) async fn repeat(source: Arc<Source>) {
    let is_of_source = is_import_of(source.cluster.clone());
    let clusters = source.clusters.clone();
    let tasks = clusters.for_each_member(move |member| {
        let (source, is_of_source) = (source.clone(), is_of_source(&member));
        async move {
            if is_of_source {
                watch(&source, &member).await;
            }
        }
    });
    tasks.await;
}

async fn watch(source: &Source, member: &Member) {
    let warnings = watcher::Config::default().fields("type=Warning,involvedObject.kind=Pod");
    let api = Api::<Event>::default_namespaced(member.client());
    let mut events = pin!(watcher(api, warnings).default_backoff());
    // A list has events that were repeated before.
    let mut newest = Timestamp::now();
    while let Some(event) = events.next().await {
        let warning = match event {
            Ok(watcher::Event::Apply(warning)) => warning,
            Ok(watcher::Event::InitApply(warning)) if time(&warning).is_some_and(|time| time > newest) => {
                warning
            }
            // The watch of pods reports why the source does not respond.
            _ => continue,
        };
        newest = time(&warning).map_or(newest, |time| time.max(newest));
        if source.fence.is_open()
            && let Some(home) = home_pod(source, member, &warning)
            && source.states.may_warn(&home)
        {
            let reason = warning.reason.as_deref().unwrap_or("Warning");
            let note = warning.message.as_deref().unwrap_or_default();
            source.events.warn(&home, reason, &format!("cluster {}: {note}", source.cluster)).await;
        }
    }
}

/// The home pod of the pod that a warning is about.
fn home_pod(source: &Source, member: &Member, warning: &Event) -> Option<Arc<Pod>> {
    let about = &warning.involved_object;
    let key = Key::new(member.name().clone(), about.namespace.as_deref(), about.name.as_deref()?);
    let remote = source.remote.get(&key).filter(|remote| remote.metadata.uid == about.uid)?;
    home_of(&source.home, member, &remote)
}

/// When a warning was last observed.
fn time(warning: &Event) -> Option<Timestamp> {
    let series =
        warning.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = warning.last_timestamp.as_ref().map(|time| time.0);
    series.or(last).or_else(|| warning.event_time.as_ref().map(|time| time.0))
}
