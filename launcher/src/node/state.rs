//! What is known of a node.

use tokio::sync::watch;

/// The state of a Node in the target, as its maintenance finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeState {
    /// The observed Node has the launcher's mark. Pods on a Node of others must not be touched.
    pub(crate) is_ours: bool,
    /// The Node and its status are as desired.
    pub(super) is_written: bool,
    /// The last renewal of its Lease has succeeded.
    pub(super) is_renewed: bool,
}

impl NodeState {
    /// Whether the node lifecycle controller gets what it waits for. Otherwise, it evicts the node's pods after some
    /// minutes: without a Lease, or if nobody takes back the status `NotReady`.
    pub(crate) fn is_maintained(self) -> bool {
        self.is_ours && self.is_written && self.is_renewed
    }

    /// Wakes receivers only if the state changes.
    pub(super) fn update(sender: &watch::Sender<Self>, update: impl FnOnce(&mut Self)) {
        sender.send_if_modified(|state| {
            let before = *state;
            update(state);
            *state != before
        });
    }
}
