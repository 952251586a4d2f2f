//! How the API server calls the webhook: by the Service in the manifest, unless the webhook runs outside the cluster
//! and the stored configuration has its URL.

use kube::api::DynamicObject;
use serde_json::Value;

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, apply, object};

/// Keeps URLs that are registered in the stored webhook configuration.
pub(crate) async fn keep_urls(cluster: &Cluster, object: &mut DynamicObject) -> Result<(), CallError> {
    if object::kind(object) != "MutatingWebhookConfiguration" {
        return Ok(());
    }
    let Some(stored) = apply::read(cluster, object).await? else { return Ok(()) };
    for url in remove_services(&mut object.data, &stored.data) {
        let reference = object::reference(object);
        output::info(&cluster.name, &format!("{reference} keeps its URL {url}"));
    }
    Ok(())
}

/// Removes the Service from each entry that has a URL in `stored`, as the API server refuses both in one entry.
/// Returns these URLs.
fn remove_services(configuration: &mut Value, stored: &Value) -> Vec<String> {
    let stored = stored["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let entries = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    let entries = entries.into_iter().flatten().filter_map(Value::as_object_mut);
    entries
        .filter_map(|entry| {
            let stored = stored.iter().find(|stored| Some(&stored["name"]) == entry.get("name"))?;
            let url = stored["clientConfig"]["url"].as_str()?;
            entry.remove("clientConfig");
            Some(url.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"webhooks": [{"name": "a", "clientConfig": {"url": "https://w"}}]}), &["https://w"])]
    #[case(json!({"webhooks": [{"name": "b", "clientConfig": {"url": "https://w"}}]}), &[])]
    #[case(json!({"webhooks": [{"name": "a", "clientConfig": {"service": {"name": "w"}}}]}), &[])]
    #[case(json!({}), &[])]
    fn only_the_url_of_the_same_entry_is_kept(#[case] stored: Value, #[case] urls: &[&str]) {
        let whole = json!({"webhooks": [{"name": "a", "clientConfig": {}, "timeoutSeconds": 5}]});
        let mut applied = whole.clone();
        assert_eq!(remove_services(&mut applied, &stored), urls);
        let kept = json!({"webhooks": [{"name": "a", "timeoutSeconds": 5}]});
        assert_eq!(applied, if urls.is_empty() { whole } else { kept });
    }
}
