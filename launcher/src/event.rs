//! Events about home pods.

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use mcsa_credentials::contract::launch::FIELD_MANAGER;
use mcsa_runtime::{deadline, errors};

/// Maximum length of an event's note, in characters.
const NOTE_MAX: usize = 1000;

/// Emits events. Repeated ones become a series.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
}

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        Self { recorder: Recorder::new(client, Reporter::from(FIELD_MANAGER)) }
    }

    pub(crate) async fn warn(&self, home: &Pod, reason: &str, note: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE_MAX).collect()),
            action: "Launch".to_owned(),
            secondary: None,
        };
        let reference = home.object_ref(&());
        let published = deadline::with_deadline(self.recorder.publish(&event, &reference)).await;
        if let Err(error) = published {
            let (namespace, pod) = (reference.namespace.as_deref(), reference.name.as_deref());
            let error = errors::line(&error);
            tracing::warn!(namespace, pod, reason, error, "can't write an event");
        }
    }
}
