//! Counts the pods of a source for the gauges, at each scrape.

use k8s_openapi::api::core::v1::Pod;

use crate::metrics::PodCounts;
use crate::states::{Outcome, States};

/// Other phases are not counted: a client that may write statuses could create any number of series.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// Counts the pods that were reconciled, among those that are bound to a node of the source's name.
///
/// The pods of a real node of that name are never reconciled. Whether a pod tolerates virtual nodes, or has the record of a
/// remote pod, would not tell them apart: their owners write both.
pub(crate) fn count<'a>(pods: impl IntoIterator<Item = &'a Pod>, states: &States) -> PodCounts {
    let mut counts = PodCounts::default();
    for pod in pods {
        let Some(outcome) = states.outcome(pod.metadata.uid.as_deref().unwrap_or_default()) else { continue };
        if let Some(phase) = phase(pod) {
            *counts.by_phase.entry(phase).or_default() += 1;
        }
        if let Outcome::Waits(reason) = outcome {
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
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({ "metadata": { "uid": uid }, "status": { "phase": phase } })).unwrap()
    }

    #[test]
    fn pods_are_counted_by_phase_and_by_the_reason_for_which_they_wait() {
        let states = States::default();
        let pods = [pod("a", "Running"), pod("b", "Pending"), pod("c", "Pending"), pod("d", "Tenant's")];
        for pod in &pods {
            states.set_outcome(pod, Outcome::Done);
        }
        states.set_outcome(&pods[1], Outcome::Waits("QuotaExceeded"));
        states.set_outcome(&pods[0], Outcome::Waits("SourceUnreachable"));
        let counts = count(&pods, &states);
        assert_eq!(counts.by_phase, [("Pending", 2), ("Running", 1)].into());
        assert_eq!(counts.waiting, [("QuotaExceeded", 1), ("SourceUnreachable", 1)].into());

        // One is gone, and its state is not dropped yet; the other no longer waits.
        states.set_outcome(&pods[1], Outcome::Done);
        assert_eq!(count(&pods[1..], &states).waiting, [].into());
    }

    #[test]
    fn pods_that_were_not_reconciled_are_not_counted() {
        let (states, pod) = (States::default(), pod("a", "Running"));
        states.set_last_remote("a", pod.clone());
        assert_eq!(count([&pod], &states), PodCounts::default());
    }
}
