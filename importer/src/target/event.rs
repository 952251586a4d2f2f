//! Events about imports. The importer never emits the same event twice in a row, so there is no series.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Request;
use kube::{Resource, ResourceExt};
use mcsa_runtime::errors;

use crate::model::import::Import;
use crate::target::Target;

/// Maximum length of an event's note, in characters.
const NOTE_MAX: usize = 1000;

/// Longest prefix from the import's name; an event's name may have 253 characters.
const NAME_MAX: usize = 230;

const REPORTER: &str = "multicluster-service-account-importer";

/// What an event reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventContent {
    pub is_warning: bool,
    pub reason: &'static str,
    pub note: String,
}

/// Emits an event. A failed write is not retried: the status has the same information, and a late event
/// would be misleading.
pub async fn emit(target: &Target, import: &Import, content: EventContent, now: Timestamp) {
    if let Err(error) = write(target, import, content, now).await {
        let (cluster, error) = (&import.spec.cluster_name, errors::line(&error));
        let (namespace, import) = (import.key.namespace(), import.key.name());
        tracing::warn!(cluster, namespace, import, reason = "EventNotWritten", error, "can't write an event");
    }
}

async fn write(target: &Target, import: &Import, content: EventContent, now: Timestamp) -> kube::Result<()> {
    let about = import.object();
    let name: String = about.name_any().chars().take(NAME_MAX).collect();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:016x}", fastrand::u64(..))),
            namespace: about.namespace(),
            ..Default::default()
        },
        type_: Some(if content.is_warning { "Warning" } else { "Normal" }.into()),
        reason: Some(content.reason.into()),
        note: Some(content.note.chars().take(NOTE_MAX).collect()),
        action: Some("Refresh".into()),
        event_time: Some(MicroTime(now)),
        regarding: Some(about.object_ref(&())),
        reporting_controller: Some(REPORTER.into()),
        reporting_instance: Some(REPORTER.into()),
        ..Default::default()
    };
    let event = serde_json::to_vec(&event).map_err(kube::Error::SerdeError)?;
    let events = Request::new(Event::url_path(&(), Some(import.key.namespace())));
    target.write(events.create(&PostParams::default(), event)).await.map(drop)
}
