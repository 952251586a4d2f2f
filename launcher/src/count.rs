//! Counts the pods of a source for the gauges, at each scrape.

use k8s_openapi::api::core::v1::Pod;

use crate::metrics::PodCounts;
use crate::states::States;
use crate::{forge, record};

/// Other phases are not counted: a client that may write statuses could create any number of series.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// Counts the pods that are bound to a node of the source's name.
///
/// If someone else's Node has that name, its pods are not counted by phase: they neither tolerate the taint of a virtual
/// node, nor have they been launched. They never wait, because they are not reconciled.
pub(crate) fn count<'a>(pods: impl IntoIterator<Item = &'a Pod>, states: &States) -> PodCounts {
    let mut counts = PodCounts::default();
    for pod in pods {
        let is_launchable = record::remote_uid(pod).is_some() || forge::tolerates_node(pod);
        if let Some(phase) = phase(pod).filter(|_| is_launchable) {
            *counts.by_phase.entry(phase).or_default() += 1;
        }
        if let Some(reason) = states.wait(pod.metadata.uid.as_deref().unwrap_or_default()) {
            *counts.waiting.entry(reason).or_default() += 1;
        }
    }
    counts
}

fn phase(pod: &Pod) -> Option<&'static str> {
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    PHASES.into_iter().find(|known| *known == phase)
}

#[cfg(test)]
mod tests {
    use mcsa_credentials::contract::launch::{HOME_UID, NODE_TAINT, REMOTE_UID};
    use serde_json::json;

    use super::*;

    /// A pod that is bound to the virtual node c2 and tolerates it.
    fn pod(uid: &str, phase: &str) -> Pod {
        let toleration = json!({ "key": NODE_TAINT, "value": "c2" });
        serde_json::from_value(json!({
            "metadata": { "uid": uid },
            "spec": { "nodeName": "c2", "containers": [], "tolerations": [toleration] },
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[test]
    fn pods_are_counted_by_phase_and_by_the_reason_for_which_they_wait() {
        let states = States::default();
        let pods = [pod("a", "Running"), pod("b", "Pending"), pod("c", "Pending"), pod("d", "Tenant's")];
        states.set_wait(&pods[1], Some("QuotaExceeded"));
        states.set_wait(&pods[0], Some("SourceUnreachable"));
        let counts = count(&pods, &states);
        assert_eq!(counts.by_phase, [("Pending", 2), ("Running", 1)].into());
        assert_eq!(counts.waiting, [("QuotaExceeded", 1), ("SourceUnreachable", 1)].into());

        // One is gone, and its state is not dropped yet; the other no longer waits.
        states.set_wait(&pods[1], None);
        assert_eq!(count(&pods[1..], &states).waiting, [].into());
    }

    #[test]
    fn pods_of_a_real_node_are_not_counted() {
        let mut other = pod("a", "Running");
        other.spec.as_mut().unwrap().tolerations = None;
        assert_eq!(count([&other], &States::default()), PodCounts::default());
        // A launched pod counts although it lost its toleration.
        other.metadata.annotations =
            Some([(HOME_UID, "a"), (REMOTE_UID, "r")].map(|(key, value)| (key.into(), value.into())).into());
        assert_eq!(count([&other], &States::default()).by_phase, [("Running", 1)].into());
    }
}
