//! Events about home pods.

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use mcsa_credentials::contract::launch::FIELD_MANAGER;
use mcsa_runtime::{deadline, errors};

/// Maximum lengths of an event's note and reason, in bytes.
const NOTE_MAX: usize = 1024;
const REASON_MAX: usize = 128;

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
            reason: cut(if reason.is_empty() { "Warning" } else { reason }, REASON_MAX),
            note: Some(cut(note, NOTE_MAX)),
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

fn cut(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(cut("ä".repeat(600).as_str(), NOTE_MAX).len(), NOTE_MAX);
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("short", NOTE_MAX), "short");
    }
}
