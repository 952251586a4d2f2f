//! Waiting until an object is really gone, and saying what holds it.

use std::time::Duration;

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, apply, object};

/// Between two looks.
pub const PAUSE: Duration = Duration::from_millis(200);

/// Waits until this very object is gone.
///
/// # Errors
/// When it is there after `timeout`; the error says what holds it.
pub async fn until_gone(cluster: &Cluster, object: &DynamicObject, timeout: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let stored = apply::read(cluster, object).await?;
        let Some(stored) = stored.filter(|stored| stored.uid() == object.uid()) else { return Ok(()) };
        if Instant::now() >= deadline {
            bail!("{}", still_there(cluster, &stored, timeout));
        }
        sleep(PAUSE).await;
    }
}

/// That it is still there, what holds it, and what to do.
pub fn still_there(cluster: &Cluster, stored: &DynamicObject, timeout: Duration) -> String {
    let (title, seconds) = (object::title(stored), timeout.as_secs());
    format!(
        "{}: {title} is still there after {seconds} s: {}; run this again when that is mended",
        cluster.name,
        holders(stored)
    )
}

/// A namespace says itself what is left in it; all else is held by finalizers.
fn holders(stored: &DynamicObject) -> String {
    let mut holders = Vec::new();
    if !stored.finalizers().is_empty() {
        holders.push(format!("held by the finalizers {}", stored.finalizers().join(", ")));
    }
    // Of a namespace, these are true when something is amiss.
    for condition in stored.data["status"]["conditions"].as_array().into_iter().flatten() {
        let namespace = object::kind(stored) == "Namespace" && condition["status"] == "True";
        holders.extend(condition["message"].as_str().filter(|_| namespace).map(str::to_owned));
    }
    if holders.is_empty() { "it does not say what holds it".into() } else { holders.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("kind: ConfigMap, metadata: {name: a, finalizers: [x/y]}", "held by the finalizers x/y")]
    #[case(
        "kind: Namespace, metadata: {name: a}, status: {conditions: [{status: 'True', message: m}, \
         {status: 'False', message: n}]}",
        "m"
    )]
    #[case("kind: Pod, metadata: {name: a}", "it does not say what holds it")]
    fn what_holds_it(#[case] object: &str, #[case] said: &str) {
        let object = object::parse(&format!("{{apiVersion: v1, {object}}}")).unwrap().remove(0);
        assert_eq!(holders(&object), said);
    }
}
