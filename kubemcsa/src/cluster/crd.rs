//! Waiting for the definition of `ServiceAccountImport` to be served.

use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use mcsa_client::ServiceAccountImport;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, apply};
use crate::manifests;

const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the definition is Established, and imports can be listed.
///
/// # Errors
/// When that takes longer than `timeout`, or the cluster can't be asked.
pub async fn wait_until_established(cluster: &Cluster, timeout: Duration) -> anyhow::Result<()> {
    let definition = manifests::crd()?;
    let imports: Api<ServiceAccountImport> = Api::all(cluster.client.clone());
    let deadline = Instant::now() + timeout;
    loop {
        let stored = apply::read(cluster, &definition).await?;
        let status = stored.map(|stored| stored.data["status"].clone()).unwrap_or_default();
        if is_established(&status) {
            // Established is a moment earlier than the first answer that is not a 404.
            match cluster.call("list imports", imports.list(&ListParams::default().limit(1))).await {
                Ok(_) => return Ok(()),
                Err(error) if error.refusal().is_some() => return Ok(()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if Instant::now() >= deadline {
            anyhow::bail!(
                "{}: the definition of ServiceAccountImport is not established after {} s: {}",
                cluster.name,
                timeout.as_secs(),
                conditions(&status)
            );
        }
        sleep(PAUSE).await;
    }
}

fn is_established(status: &serde_json::Value) -> bool {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

/// The conditions in one line: what isn't true, with its message.
pub fn conditions(status: &serde_json::Value) -> String {
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
    if lines.is_empty() { "it has no condition that says why".into() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_established_is_established() {
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
