//! Waits until an object is deleted, and explains what delays it.

use std::time::Duration;

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, apply, object};

pub(crate) const INTERVAL: Duration = Duration::from_millis(200);

/// Waits until the object with this UID is deleted.
pub(crate) async fn wait_until_deleted(
    cluster: &Cluster,
    object: &DynamicObject,
    timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let stored = apply::read(cluster, object).await?;
        let Some(stored) = stored.filter(|stored| stored.uid() == object.uid()) else { return Ok(()) };
        if Instant::now() >= deadline {
            bail!("{}", still_exists(cluster, &stored, timeout));
        }
        sleep(INTERVAL).await;
    }
}

/// The error message after the timeout.
pub(crate) fn still_exists(cluster: &Cluster, stored: &DynamicObject, timeout: Duration) -> String {
    let (reference, seconds) = (object::reference(stored), timeout.as_secs());
    format!(
        "{}: {reference} still exists after {seconds}s: {}; fix this, then run the command again",
        cluster.name,
        blockers(stored)
    )
}

/// Finalizers, and, of a namespace, the conditions that list its remaining contents.
fn blockers(stored: &DynamicObject) -> String {
    let mut blockers = Vec::new();
    if !stored.finalizers().is_empty() {
        blockers.push(format!("it has finalizers {}", stored.finalizers().join(", ")));
    }
    // The conditions of a namespace are true if there is a problem.
    for condition in stored.data["status"]["conditions"].as_array().into_iter().flatten() {
        let namespace = object::kind(stored) == "Namespace" && condition["status"] == "True";
        blockers.extend(condition["message"].as_str().filter(|_| namespace).map(str::to_owned));
    }
    if blockers.is_empty() { "its status does not explain why".into() } else { blockers.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("kind: ConfigMap, metadata: {name: a, finalizers: [x/y]}", "it has finalizers x/y")]
    #[case(
        "kind: Namespace, metadata: {name: a}, status: {conditions: [{status: 'True', message: m}, \
         {status: 'False', message: n}]}",
        "m"
    )]
    #[case("kind: Pod, metadata: {name: a}", "its status does not explain why")]
    fn blockers_are_finalizers_and_conditions(#[case] object: &str, #[case] expected: &str) {
        let object = object::parse(&format!("{{apiVersion: v1, {object}}}")).unwrap().remove(0);
        assert_eq!(blockers(&object), expected);
    }
}
