//! Waits until the API server serves our CRDs.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{DynamicObject, ListParams};
use kube::{Api, Resource};
use mcsa_client::{ImportPolicy, ServiceAccountImport};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, apply};
use crate::manifests;

const INTERVAL: Duration = Duration::from_millis(100);

/// Waits until the CRDs are established, and imports and policies can be listed.
pub(crate) async fn wait_until_established(cluster: &Cluster, timeout: Duration) -> anyhow::Result<()> {
    wait_for::<ServiceAccountImport>(cluster, &manifests::crd()?, timeout).await?;
    wait_for::<ImportPolicy>(cluster, &manifests::policy_crd()?, timeout).await
}

async fn wait_for<K>(cluster: &Cluster, crd: &DynamicObject, timeout: Duration) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(cluster.client.clone());
    let doing = format!("list {}", K::plural(&()));
    let deadline = Instant::now() + timeout;
    loop {
        let stored = apply::read(cluster, crd).await?;
        let status = stored.map(|stored| stored.data["status"].clone()).unwrap_or_default();
        if is_established(&status) {
            // The API server responds 404 for a moment after the CRD is established.
            match cluster.call(&doing, api.list_metadata(&ListParams::default().limit(1))).await {
                Ok(_) => return Ok(()),
                Err(error) if error.refusal().is_some() => return Ok(()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if Instant::now() >= deadline {
            anyhow::bail!(
                "{}: the CRD of {} is not established after {}s: {}; fix this, then run the command again",
                cluster.name,
                K::kind(&()),
                timeout.as_secs(),
                conditions(&status)
            );
        }
        sleep(INTERVAL).await;
    }
}

fn is_established(status: &serde_json::Value) -> bool {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

/// The conditions that are not true, in one line.
pub(crate) fn conditions(status: &serde_json::Value) -> String {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let lines: Vec<_> = conditions
        .iter()
        .filter(|condition| condition["status"] != "True")
        .map(|condition| {
            format!(
                "{} is {}: {}",
                text(&condition["type"]),
                text(&condition["status"]),
                text(&condition["message"])
            )
        })
        .collect();
    if lines.is_empty() { "no condition explains this".into() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn crd_is_established_by_its_condition_only() {
        let status = |value| {
            json!({"conditions": [
                {"type": "NamesAccepted", "status": "False", "message": "sai is taken"},
                {"type": "Established", "status": value, "message": "not yet"},
            ]})
        };
        assert!(is_established(&status("True")));
        assert!(!is_established(&status("False")));
        assert!(!is_established(&json!(null)));
        assert_eq!(conditions(&status("True")), "NamesAccepted is False: sai is taken");
    }
}
