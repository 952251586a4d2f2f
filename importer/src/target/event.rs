//! Events about imports. The same one twice in a row is never told, so there is nothing to count, and
//! nothing to remember.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Request;
use kube::{Resource, ResourceExt};
use mcsa_runtime::errors;

use crate::model::import::Import;
use crate::target::Target;

/// An event's note may have this many characters.
const NOTE_MAX: usize = 1000;

/// A name may have 253 characters; that of an event begins with the import's.
const NAME_MAX: usize = 230;

const REPORTER: &str = "multicluster-service-account-importer";

/// What is told of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether something is wrong.
    pub is_warning: bool,
    /// For machines.
    pub reason: &'static str,
    /// For people.
    pub note: String,
}

/// Writes an event. The status says the same, so one that can't be written now is let go: later, it
/// would only confuse.
pub async fn tell(target: &Target, import: &Import, told: Told, now: Timestamp) {
    if let Err(error) = write(target, import, told, now).await {
        let (cluster, error) = (&import.spec.cluster_name, errors::line(&error));
        let (namespace, import) = (import.key.namespace(), import.key.name());
        tracing::warn!(cluster, namespace, import, reason = "EventNotWritten", error, "can't write an event");
    }
}

async fn write(target: &Target, import: &Import, told: Told, now: Timestamp) -> kube::Result<()> {
    let about = import.object();
    let name: String = about.name_any().chars().take(NAME_MAX).collect();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:016x}", fastrand::u64(..))),
            namespace: about.namespace(),
            ..Default::default()
        },
        type_: Some(if told.is_warning { "Warning" } else { "Normal" }.into()),
        reason: Some(told.reason.into()),
        note: Some(told.note.chars().take(NOTE_MAX).collect()),
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
